"""The dashboard: what will fail, when and why, live in a browser."""
