"""Responses, and when a signal began and ceased not to be judged."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Every statement may meet a database that has what it makes already."""
    statements = Path(__file__).with_suffix(".sql").read_text()
    op.execute(statements.replace(":", r"\:"))  # a colon would be taken for a parameter
