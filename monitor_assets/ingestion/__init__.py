"""History from the archive of metrics."""
