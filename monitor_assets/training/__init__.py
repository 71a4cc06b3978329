"""The training set and the models that learn from it."""
