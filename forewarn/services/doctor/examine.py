"""All checks, in the order in which they are read: what is wrong first here explains what follows."""

from collections.abc import Iterator, Mapping

from forewarn.config.settings import Settings
from forewarn.services.doctor.broker import examine_broker
from forewarn.services.doctor.database import examine_database
from forewarn.services.doctor.finding import Finding, unknown
from forewarn.services.doctor.host import examine_host
from forewarn.services.doctor.servers import examine_servers


def examine(settings: Settings, elsewhere: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Each finding as soon as it is known; a check that breaks is told and the others go on.

    elsewhere: URLs of gateway, predictor, dashboard, dagster that run elsewhere.
    """
    for name, findings in (
        ("Host", examine_host(settings)),
        ("Broker", examine_broker(settings)),
        ("Database", examine_database(settings)),
        ("Servers", examine_servers(settings, elsewhere)),
    ):
        try:
            yield from findings
        except Exception as error:  # noqa: BLE001  a doctor must not fall ill of what it looks at
            yield unknown(name, f"{type(error).__name__}: {error}")
