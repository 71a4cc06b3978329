"""Makes the channels of a policy, with secrets from the settings alone."""

from collections.abc import Callable

from pydantic import SecretStr

from forewarn.alerting.channel import Channel
from forewarn.alerting.policy import ChannelSpec, Policy
from forewarn.alerting.signatures import secrets_of
from forewarn.config.settings import Settings


class ChannelError(ValueError):
    """A channel of the alerting file cannot be made; says which, and what to set."""


def make_channel(name: str, spec: ChannelSpec, settings: Settings) -> Channel:
    """Raises ChannelError. Nothing is sent."""
    import httpx

    try:
        return _MAKERS[spec.kind](name, spec, settings)
    except ChannelError:
        raise
    except (ValueError, httpx.InvalidURL) as error:  # the latter is no ValueError
        raise ChannelError(f"channel '{name}': {error}") from None


def missing_settings(policy: Policy, settings: Settings) -> list[str]:
    """A sentence for each channel that lacks something."""
    sentences = []
    for name, spec in policy.channels.items():
        try:
            make_channel(name, spec, settings).close()
        except ChannelError as error:
            sentences.append(str(error))
    return sentences


def _console(name: str, spec: ChannelSpec, settings: Settings) -> Channel:
    from forewarn.alerting.console import ConsoleChannel

    return ConsoleChannel(name=name)


def _email(name: str, spec: ChannelSpec, settings: Settings) -> Channel:
    from forewarn.alerting.email import EmailChannel

    return EmailChannel(settings, name, spec.to)


def _slack(name: str, spec: ChannelSpec, settings: Settings) -> Channel:
    from forewarn.alerting.slack import SlackChannel

    token = _secret(name, spec, settings, settings.slack_bot_token, "FOREWARN_SLACK_BOT_TOKEN")
    channel, url = spec.to or settings.slack_channel, spec.url or settings.slack_url
    return SlackChannel(name, token, channel, url, bool(secrets_of(settings.slack_signing_secret)))


def _slack_webhook(name: str, spec: ChannelSpec, settings: Settings) -> Channel:
    from forewarn.alerting.slack import SlackWebhookChannel

    url = _secret(name, spec, settings, settings.slack_webhook_url, "FOREWARN_SLACK_WEBHOOK_URL")
    return SlackWebhookChannel(name, url, bool(secrets_of(settings.slack_signing_secret)))


def _pagerduty(name: str, spec: ChannelSpec, settings: Settings) -> Channel:
    from forewarn.alerting.pagerduty import PagerDutyChannel

    key = _secret(name, spec, settings, settings.pagerduty_routing_key, "FOREWARN_PAGERDUTY_ROUTING_KEY")
    return PagerDutyChannel(name, key, spec.url or settings.pagerduty_url)


def _webhook(name: str, spec: ChannelSpec, settings: Settings) -> Channel:
    from forewarn.alerting.webhook import WebhookChannel

    url = spec.url or (settings.webhook_url.get_secret_value() if settings.webhook_url else None)
    if not url:
        raise ChannelError(f"channel '{name}': a webhook needs 'url' or FOREWARN_WEBHOOK_URL")
    own = settings.webhook_secret
    secret = _secret(name, spec, settings, own, "FOREWARN_WEBHOOK_SECRET") if spec.secret or own else None
    return WebhookChannel(name, url, secret)


def _alertmanager(name: str, spec: ChannelSpec, settings: Settings) -> Channel:
    from forewarn.alerting.alertmanager import AlertmanagerChannel

    url = spec.url or settings.alertmanager_url
    if not url:
        raise ChannelError(f"channel '{name}': Alertmanager needs 'url' or FOREWARN_ALERTMANAGER_URL")
    own = settings.alertmanager_password
    password = _secret(name, spec, settings, own, "FOREWARN_ALERTMANAGER_PASSWORD") if spec.secret or own else None
    return AlertmanagerChannel(name, url, settings.alertmanager_user, password)


def _secret(name: str, spec: ChannelSpec, settings: Settings, own: SecretStr | None, variable: str) -> str:
    if spec.secret is not None:
        found = settings.alerting_secrets.get(spec.secret)
        if found is None:
            raise ChannelError(f"channel '{name}': FOREWARN_ALERTING_SECRETS has no secret named '{spec.secret}'")
        return found.get_secret_value()
    if own is None:
        raise ChannelError(f"channel '{name}': set {variable}, or name a 'secret' of FOREWARN_ALERTING_SECRETS")
    return own.get_secret_value()


_MAKERS: dict[str, Callable[[str, ChannelSpec, Settings], Channel]] = {
    "console": _console,
    "email": _email,
    "slack": _slack,
    "slack_webhook": _slack_webhook,
    "pagerduty": _pagerduty,
    "webhook": _webhook,
    "alertmanager": _alertmanager,
}
