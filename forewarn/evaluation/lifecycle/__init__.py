"""When a model is trained again, promoted, rolled back: pure functions that return a verdict and its reason."""
