"""Dagster assets, jobs and their wiring."""
