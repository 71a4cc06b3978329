"""Stores: PostgreSQL, each with an in-memory twin that passes the same tests."""
