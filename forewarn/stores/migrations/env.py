"""Alembic's environment: the connection comes from `upgrade.py`, each revision is one transaction."""

from alembic import context
from sqlalchemy import Connection

VERSION_TABLE = "schema_revision"  # not 'alembic_version': Dagster's tables may stand in the same schema


def _run() -> None:
    connection: Connection | None = context.config.attributes.get("connection")
    if connection is None:
        context.configure(dialect_name="postgresql", literal_binds=True, version_table=VERSION_TABLE)
    else:
        context.configure(connection=connection, version_table=VERSION_TABLE, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


_run()
