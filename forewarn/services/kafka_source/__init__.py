"""Telemetry that others put on Kafka: from their topics, in their formats, onto ours."""
