"""Risks: one prediction with its time, its reasons and its advice."""
