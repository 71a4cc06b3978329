"""Processes: gateway, archiver, alerter, collector and the embedded stack."""
