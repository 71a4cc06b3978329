"""Windows of signals and the features computed from them."""
