"""In-memory twins of the stores: for tests of what uses a store, and for trying things out without a database."""
