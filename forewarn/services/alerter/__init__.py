"""Alerter: risks and observations of the log become the ledger, incidents, and messages to people."""
