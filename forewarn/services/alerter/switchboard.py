"""The channels in use, each with its sender; they follow the alerting file."""

from collections.abc import Callable

import structlog

from forewarn.alerting.policy import ChannelSpec, Policy
from forewarn.alerting.registry import ChannelError, make_channel
from forewarn.config.settings import Settings
from forewarn.services.alerter.compose import Composer
from forewarn.services.alerter.sender import Sender

logger = structlog.get_logger(__name__)


class Switchboard:
    """Senders by name of channel. A channel that cannot be made is said, and its messages wait in the outbox."""

    def __init__(self, settings: Settings, compose: Composer, count: Callable[[str], None]) -> None:
        self._settings, self._compose, self._count = settings, compose, count
        self._senders: dict[str, tuple[ChannelSpec, Sender]] = {}

    def follow(self, policy: Policy) -> None:
        """Start, stop and replace senders so that they are those of the policy."""
        for name in [n for n, (spec, _) in self._senders.items() if policy.channels.get(n) != spec]:
            self._senders.pop(name)[1].stop()
        for name, spec in policy.channels.items():
            if name not in self._senders:
                self._start(name, spec)

    def wake(self) -> None:
        """There may be something new in the outbox."""
        for _, sender in self._senders.values():
            sender.wake()

    def stop(self) -> None:
        """End all of them."""
        for _, sender in self._senders.values():
            sender.ask_to_stop()
        for _, sender in self._senders.values():
            sender.stop()
        self._senders.clear()

    def _start(self, name: str, spec: ChannelSpec) -> None:
        try:
            channel = make_channel(name, spec, self._settings)
        except ChannelError as error:
            logger.error("a channel cannot be used", error=str(error))
            return
        url = self._settings.postgres_url.get_secret_value()
        sender = Sender(url, channel, self._compose, self._count)
        sender.start()
        self._senders[name] = spec, sender
