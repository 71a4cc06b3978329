"""The embedded stack: everything Forewarn needs, as processes on one machine."""
