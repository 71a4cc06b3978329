"""How long fixes took, by failure mode: from failures that ended, and from predictions that somebody acted on."""

from collections.abc import Sequence
from typing import Any

import psycopg

# Under fire: from the failure until the incident was first resolved, in event time. In time: from the first message
# until somebody said 'I acted', in wall time. A week and more is a forgotten incident, not a fix.
_QUERY = """
select mode, seconds from (
    select payload->>'mode' as mode,
        extract(epoch from min((payload->>'updated_at')::timestamptz) - min((payload->>'failed_at')::timestamptz))
            as seconds
    from incident_history where payload->>'state' = 'resolved' and payload->>'failed_at' is not null
    group by incident_id, payload->>'mode'
    union all
    select i.mode, extract(epoch from min(f.given_at) - min(o.sent_at))
    from feedback f join incidents i using (incident_id) join outbox o using (incident_id)
    where f.verdict = 'averted' and o.status = 'sent' group by i.incident_id, i.mode
) durations where seconds between 1 and 604800
"""


def read_fix_times(connection: psycopg.Connection[Any]) -> dict[str, Sequence[float]]:
    """Seconds that fixes took, by mode."""
    found: dict[str, list[float]] = {}
    for mode, seconds in connection.execute(_QUERY.encode()):
        found.setdefault(mode, []).append(float(seconds))
    return dict(found)
