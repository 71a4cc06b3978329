"""Revisions of the tables, from each release to the next, carried out by Alembic (docs/upgrading.md)."""
