"""Logs, spans and activity become signals: what OpenTelemetry's Collector calls a connector."""
