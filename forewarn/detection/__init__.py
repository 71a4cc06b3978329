"""Anomaly detectors: higher scores are worse."""
