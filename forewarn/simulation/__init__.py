"""A small shop that makes telemetry and fails on request."""
