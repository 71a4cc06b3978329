"""All tables of the first release; what was made before there were revisions is completed."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Every statement may meet a database that has what it makes already."""
    statements = Path(__file__).with_suffix(".sql").read_text()
    op.execute(statements.replace(":", r"\:"))  # a colon would be taken for a parameter
