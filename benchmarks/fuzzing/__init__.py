"""Garbage for every door of the gateway: what is sent, what may be answered, and what must be found on the topics."""
