"""Names of the signals that are derived from logs, spans and activity; docs/data-formats.md lists them."""

LOG_RATE = "log.records.rate"
LOG_ERROR_RATIO = "log.records.error_ratio"
LOG_SEVERITY_RATE = "log.severity.rate"
LOG_TEMPLATE_RATE = "log.template.rate"
LOG_TEMPLATES_NEW = "log.templates.new"
LOG_SURPRISE = "log.surprise.ratio"
LOG_TEMPLATES_DISTINCT = "log.templates.distinct"

SERVICE_SPANS = "traces.service"  # all requests that a service answers
SPANS = "traces.span.metrics"  # of one operation
CALLS_RATE, ERROR_RATIO, P50, P99 = "calls.rate", "error_ratio", "duration.p50", "duration.p99"

ACTIVITY_RATE = "activity.events.rate"
ACTIVITY_ACTION_RATE = "activity.action.rate"
ACTIVITY_USERS = "activity.users.active"
ACTIVITY_SESSIONS = "activity.sessions.open"
ACTIVITY_STARTED = "activity.sessions.started.rate"
ACTIVITY_CONVERSION = "activity.sessions.conversion_ratio"

_DERIVED = ("log.", "traces.service.", "traces.span.metrics.", "activity.")


def is_derived(signal: str) -> bool:
    """Whether a signal has its name from here: it tells what is logged and traced, not what the service measures."""
    return signal.startswith(_DERIVED)
