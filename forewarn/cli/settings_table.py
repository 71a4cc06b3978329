"""`forewarn config`: every setting in force and where it came from."""

import json
import sys
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from forewarn.config.running import settings_with_sources
from forewarn.config.settings import Settings


def config(home: Path | None, as_json: bool) -> None:
    """Print the settings; a secret is masked, of a database's address only its password."""
    settings, sources = settings_with_sources(home)
    rows = {f"FOREWARN_{n.upper()}": (masked(getattr(settings, n)), sources[n], _meaning(n)) for n in sources}
    if as_json:
        plain = {name: {"value": value, "source": source} for name, (value, source, _) in rows.items()}
        sys.stdout.write(json.dumps(plain, indent=2) + "\n")
        return
    table = Table("Setting", "Value", "From", "Meaning", box=None, padding=(0, 2, 0, 0))
    for name, (value, source, meaning) in rows.items():
        style = "dim" if source == "default" else "bold"
        table.add_row(name, f"[{style}]{escape(value)}[/]", f"[{style}]{source}[/]", f"[dim]{escape(meaning)}[/]")
    Console(highlight=False).print(table)


def masked(value: object) -> str:
    """The value as text, without what is secret in it."""
    if not isinstance(value, SecretStr):
        return "" if value is None else str(value)
    secret = value.get_secret_value()
    if not secret.startswith(("postgresql://", "postgres://")):
        return "••••••" if secret else ""
    parts = conninfo_to_dict(secret)
    user = f"{parts.get('user', '')}{':••••••' if parts.get('password') else ''}"
    return f"postgresql://{user}@{parts.get('host', '')}:{parts.get('port', '')}/{parts.get('dbname', '')}"


def _meaning(field: str) -> str:
    return Settings.model_fields[field].description or ""
