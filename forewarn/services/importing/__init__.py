"""History in bulk into the archive: from Prometheus, from files in the long format."""
