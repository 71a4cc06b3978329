"""The policy that holds without an alerting file: what is configured is used, everything goes everywhere."""

from collections.abc import Sequence
from datetime import timedelta

from forewarn.alerting.policy import ChannelSpec, Policy, RouteSpec
from forewarn.config.settings import Settings


def default_policy(settings: Settings) -> Policy:
    """The console, and a channel for each of e-mail, Slack, PagerDuty, webhook and Alertmanager that has an address.

    PagerDuty hears of what is critical only: it wakes people.
    """
    kinds = {
        "email": settings.smtp_host is not None,
        "slack": settings.slack_bot_token is not None,
        "slack_webhook": settings.slack_webhook_url is not None and settings.slack_bot_token is None,
        "webhook": settings.webhook_url is not None,
        "alertmanager": settings.alertmanager_url is not None,
    }
    names = ["console", *(kind for kind, there in kinds.items() if there)]
    pages = ["pagerduty"] if settings.pagerduty_routing_key is not None else []
    return policy_of(names, pages)


def policy_of(channels: Sequence[str], pages: Sequence[str] = (), group_wait: float = 0.5) -> Policy:
    """Channels named as their kinds; `pages` hear of critical incidents only."""
    specs = {name: ChannelSpec(kind=name) for name in (*channels, *pages)}
    route = RouteSpec(
        channels=list(channels),
        group_wait=timedelta(seconds=group_wait),
        routes=[RouteSpec(name="critical", match={"severity": "critical"}, channels=[*channels, *pages])]
        if pages
        else [],
    )
    return Policy(channels=specs, route=route)
