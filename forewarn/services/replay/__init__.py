"""Sends a recording through the gateway as if it happened again, at any speed."""
