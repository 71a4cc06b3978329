"""What the models reach on held-out time."""
