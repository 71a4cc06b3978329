"""What editors do on the page of a risk beside answering: approve and decline responses, silence and end it."""

import re
from collections.abc import Mapping

import psycopg

from forewarn.config.settings import Settings
from forewarn.stores.responses import PostgresResponses
from panel_app import settings_actions


def act(settings: Settings, author: str, action: str, fields: Mapping[str, str]) -> str:
    """Do it and say what was done. Raises ValueError that says what is wrong, psycopg.Error."""
    if action in ("silence", "end-silence"):
        return settings_actions.act(settings, author, action, fields)
    if action not in ("approve", "decline"):
        raise ValueError(f"'{action}' is not known here")
    note = " ".join(fields.get("note", "").split())
    with psycopg.connect(settings.postgres_url.get_secret_value(), connect_timeout=3) as connection:
        row = PostgresResponses(connection).decide(fields.get("response", ""), action == "approve", author, note)
    if action == "decline":
        return f"'{row.response}' is declined; it is not proposed for this incident again."
    return f"'{row.response}' is approved" + (f"; it is held: {row.held_why}." if row.held_for else " and begins now.")


def exactly(text: str) -> str:
    """A matcher that fits this text and no other, whatever is in it."""
    return f"~{re.escape(text)}" if text[:1] in ("!", "~") or "*" in text else text
