"""Forewarn watches itself: this host, the stack's processes, PostgreSQL and consumer lag, sent as OTLP."""
