"""All checks, in the order in which they are read: what is wrong first here explains what follows."""

from collections.abc import Callable, Iterator

from forewarn.config.settings import Settings
from forewarn.services.doctor.broker import examine_broker
from forewarn.services.doctor.database import examine_database
from forewarn.services.doctor.finding import Finding, unknown
from forewarn.services.doctor.host import examine_host
from forewarn.services.doctor.servers import examine_servers

_PARTS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    examine_host, examine_broker, examine_database, examine_servers,
)  # fmt: skip


def examine(settings: Settings) -> Iterator[Finding]:
    """Each finding as soon as it is known; a check that breaks is told and the others go on."""
    for part in _PARTS:
        try:
            yield from part(settings)
        except Exception as error:  # noqa: BLE001  a doctor must not fall ill of what it looks at
            yield unknown(part.__name__.removeprefix("examine_").capitalize(), f"{type(error).__name__}: {error}")
