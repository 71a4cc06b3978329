"""A connection to PostgreSQL for a command; what goes wrong becomes a sentence with what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forewarn.cli.failure import CommandError

if TYPE_CHECKING:
    import psycopg

    from forewarn.config.settings import Settings


@contextmanager
def connected(settings: "Settings", **options: Any) -> "Iterator[psycopg.Connection[Any]]":
    """Connect to the settings' database; `options` as psycopg.connect takes them. Raises CommandError."""
    import psycopg

    with database_errors(), psycopg.connect(
        settings.postgres_url.get_secret_value(), **{"connect_timeout": 5, **options}
    ) as connection:  # fmt: skip
        yield connection


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn errors of PostgreSQL into CommandError: it is away, or the stack has never run on it."""
    import psycopg

    try:
        yield
    except psycopg.errors.UndefinedTable as error:
        raise CommandError("this database has no tables yet: start `forewarn up` on it once") from error
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        raise CommandError(
            f"PostgreSQL cannot be reached ({reason}): start it with `forewarn up`, or set FOREWARN_POSTGRES_URL"
        ) from error


def settings_of_stack(home: Path | None) -> "Settings":
    """Settings of the stack of this home, or of a database that they name. Raises CommandError where neither is."""
    from forewarn.config.running import client_settings, running

    settings = client_settings(home)
    if running(settings.home) is None and "postgres_url" not in settings.model_fields_set:
        raise CommandError(
            f"no stack runs on {settings.home.resolve()}: start one with `forewarn up`, or set FOREWARN_POSTGRES_URL",
            status=3,
        )
    return settings
