"""Carries out responses: one process at a time, each response at most once."""
