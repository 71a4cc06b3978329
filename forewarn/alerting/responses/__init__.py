"""Responses: what may be done about an incident beside telling people; off by default (docs/responses.md)."""
