"""Telemetry over HTTP into the log: nothing is answered before the broker has it."""
