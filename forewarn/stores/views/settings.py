"""What the settings page shows of the stores: silences, maintenance windows that people set, how channels do."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from forewarn.stores.silences import MaintenanceRow, PostgresMaintenance
from forewarn.stores.views.now import rows


@dataclass(frozen=True, slots=True)
class SilenceRow:
    """A silence; `state` is 'on', 'to come' or 'over' by wall clock."""

    silence_id: str
    matcher: dict[str, str | list[str]]
    starts_at: datetime
    ends_at: datetime
    reason: str
    author: str
    state: str


@dataclass(frozen=True, slots=True)
class ChannelUse:
    """What the outbox knows of a channel within the last week (wall clock)."""

    channel: str
    sent: int
    waiting: int
    failed: int
    last_sent: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class SettingsView:
    """Everything of the stores on the settings page."""

    silences: tuple[SilenceRow, ...]  # those that are on first, over since a week at most
    windows: tuple[MaintenanceRow, ...]
    channels: tuple[ChannelUse, ...]


def settings_view(connection: psycopg.Connection[Any]) -> SettingsView:
    """Silences, windows and channels now."""
    return SettingsView(
        silences=tuple(rows(connection, SilenceRow, _SILENCES)),
        windows=tuple(PostgresMaintenance(connection).windows()),
        channels=tuple(rows(connection, ChannelUse, _CHANNELS)),
    )


_SILENCES = """
select silence_id::text, matcher, starts_at, ends_at, reason, author,
       case when ends_at <= now() then 'over' when starts_at > now() then 'to come' else 'on' end as state
from silences where ends_at > now() - interval '7 days'
order by ends_at <= now(), case when ends_at > now() then ends_at end, ends_at desc, silence_id limit 200
"""

_CHANNELS = """
select channel, count(*) filter (where status = 'sent')::int as sent,
       count(*) filter (where status in ('pending', 'held'))::int as waiting,
       count(*) filter (where status = 'failed')::int as failed, max(sent_at) as last_sent,
       (array_agg(last_error order by created_at desc) filter (where status in ('failed', 'pending')
                                                                 and last_error is not null))[1] as last_error
from outbox where created_at > now() - interval '7 days' group by channel order by channel
"""
