"""Forewarn: what will fail, when, and why."""

__version__ = "0.1.0"
