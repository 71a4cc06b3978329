"""Capacity days ahead: the highest value of a signal within hours to a week, and when it first reaches its limit."""
