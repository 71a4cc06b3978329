"""Failure models: the probability that a signal reaches its limit within each horizon."""
