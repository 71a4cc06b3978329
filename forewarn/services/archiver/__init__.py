"""Telemetry from the log into PostgreSQL, exactly once."""
