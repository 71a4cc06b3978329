"""Candidates, and which of them serves."""
