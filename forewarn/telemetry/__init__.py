"""Telemetry as arrays: OpenTelemetry protobuf in, batches of samples out."""
