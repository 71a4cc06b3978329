"""Channel 'console': a line in the log and a panel on the terminal."""

import structlog
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from forewarn.alerting import wording
from forewarn.alerting.channel import Digest, Notification
from forewarn.incidents.paging import CLOSINGS

logger = structlog.get_logger(__name__)
_COLOURS = {"critical": "red", "warning": "yellow", "info": "blue"}


class ConsoleChannel:
    """Prints to standard output. Text of telemetry is printed as it is: no markup, no control characters."""

    def __init__(self, console: Console | None = None, name: str = "console") -> None:
        self.name = name
        self._console = console or Console(highlight=False)

    def send(self, notification: Notification) -> None:
        """See Channel; a terminal takes everything."""
        incident = notification.incident
        logger.info(
            "incident told", reason=notification.reason, incident_id=incident.incident_id, state=incident.state,
            severity=incident.severity, title=wording.one_line(incident.title),
        )  # fmt: skip
        self._console.print(render_panel(notification))

    def send_digest(self, digest: Digest) -> None:
        """See Channel."""
        title = wording.digest_title(digest)
        logger.info("incidents told", title=title, incidents=len(digest.notifications))
        lines = [Text(wording.told_line(n)) for n in digest.notifications]
        self._console.print(Panel(Group(*lines), title=Text(title), title_align="left", subtitle=Text(digest.url)))

    def close(self) -> None:
        """See Channel."""


def render_panel(notification: Notification) -> Panel:
    """The notification as a panel: headline in its title, the sentence, then what to do and who is affected."""
    incident = notification.incident
    closed = notification.reason in CLOSINGS
    colour = "green" if closed else _COLOURS[incident.severity]
    parts: list[Text | Table] = [Text(wording.sentence(notification))]
    score = wording.scorecard(notification)
    if score:
        table = Table.grid(padding=(0, 2))
        for name, text in score:
            table.add_row(Text(name, style="dim"), Text(text, style="bold"))
        parts += [Text(""), table]
    if not closed:
        parts += [Text(f"→ {text}", style="bold") for text, _ in wording.advice(incident.actions)]
    parts += [Text(f"also affected: {text}", style="dim") for text in wording.affected(notification.others)]
    if notification.why:
        parts.append(Text(wording.plain_why(notification), style="dim"))
    label = wording.headline(notification) + ("" if closed else f" · {incident.severity}")
    return Panel(
        Group(*parts),
        title=Text(label, style=f"bold {colour}"),
        title_align="left",
        subtitle=Text(wording.one_line(notification.url), style="dim"),
        subtitle_align="right",
        border_style=colour,
    )
