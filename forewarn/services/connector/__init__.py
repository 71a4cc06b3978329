"""Logs, spans and activity from the log into signals on the log."""
