"""History from the archive: metrics, logs, spans and activity."""
