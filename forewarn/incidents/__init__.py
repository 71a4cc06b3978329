"""Incidents: correlated risks become one page."""
