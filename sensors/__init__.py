"""Dagster sensors and schedules: each asks a pure function and carries out what it says."""
