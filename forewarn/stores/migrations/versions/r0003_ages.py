"""When a series was last written and a failure recorded, by the wall clock: what is too old is told by them."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """What is there already counts as new: it is kept for as long again."""
    op.execute("alter table metric_series add column seen_on date not null default current_date")
    op.execute("alter table failures add column recorded_at timestamptz not null default now()")
