"""A simulated shop with real queueing behaviour, and failures that can be asked for by name."""
