"""What is raised where telemetry cannot be read."""


class TelemetryError(ValueError):
    """Bytes that are not the telemetry they claim to be; the text says what is wrong with them."""
