"""Whether the world still looks as it did in training."""
