"""Feast's online store, kept up to date beside the predictor."""
