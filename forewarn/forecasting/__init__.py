"""Forecasts of signals and the time at which they reach their limit."""
