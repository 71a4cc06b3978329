"""What a run is about: a namespace, an interval of event time, and where things are kept."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from forewarn.config.settings import Settings
from monitor_assets.history import History


class TrainingScope(dg.ConfigurableResource):
    """The namespace and the interval of a run. All else comes from the environment (`FOREWARN_*`)."""

    namespace: str = "shop"
    start: str = ""  # ISO time, '' for the oldest sample that the archive holds of the namespace
    stop: str = ""  # exclusive; '' for the newest

    def settings(self) -> Settings:
        """Settings of this process."""
        return Settings()

    @property
    def home(self) -> Path:
        """Folder of all local state."""
        return self.settings().home.absolute()

    @property
    def postgres_url(self) -> str:
        """Address of archive, ledger and registry."""
        return self.settings().postgres_url.get_secret_value()

    @property
    def step_seconds(self) -> float:
        """Width of a window cell in this namespace."""
        return self.settings().step_of(self.namespace)

    def history(self) -> History:
        """Files of this namespace."""
        return History(self.home, self.namespace)

    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """The interval that was asked for, UTC; None where an end is open. Raises dagster.Failure for bad times."""
        return _time("start", self.start), _time("stop", self.stop)


def _time(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise dg.Failure(f"scope.{name} = '{text}' is no ISO time such as 2026-03-01T12:00:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
