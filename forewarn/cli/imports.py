"""`forewarn import`: history in bulk into the archive, from a Prometheus or from files."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.failure import CommandError
from forewarn.cli.options import Home

if TYPE_CHECKING:
    from forewarn.config.settings import Settings

app = typer.Typer(
    rich_markup_mode="rich", add_completion=False, no_args_is_help=True,
    help="Put history into the archive: from a Prometheus, or from files.",
)  # fmt: skip

Namespace = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Namespace of the entities.", show_default="what the data says"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say how much there is; store nothing.")]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


@app.command(
    "prometheus",
    epilog="A bearer token or a login is read from FOREWARN_PROMETHEUS_TOKEN, or FOREWARN_PROMETHEUS_USER and "
    "FOREWARN_PROMETHEUS_PASSWORD.\n\n"
    "Examples:\n\n"
    "[bold]forewarn import prometheus --url http://host:9090 --match '{job=\"node\"}' --since 30d --dry-run[/]\n\n"
    "[bold]forewarn import prometheus --url http://host:9090 --match up --match '{job=\"api\"}' --step 1m[/]",
)
def prometheus(
    url: Annotated[str, typer.Option(help="Address of Prometheus, Thanos, Mimir or VictoriaMetrics.")],
    match: Annotated[list[str], typer.Option(metavar="SELECTOR", help="Which series; may be repeated.")],
    since: Annotated[str, typer.Option(metavar="AGE|TIME", help="From when on: 30d, 12h, or an ISO time.")] = "30d",
    until: Annotated[
        str | None, typer.Option(metavar="AGE|TIME", help="Until when.", show_default="a minute ago")
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="One value in so much time.", show_default="every sample as scraped"),
    ] = None,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    home: Home = None,
) -> None:
    """Copy history from a Prometheus into the archive; stopped, it goes on where it was when it is run again.

    Series are named as remote write names them. Samples that the archive has are not stored twice.
    """
    from forewarn.services.importing.prometheus import Wanted

    now = datetime.now(UTC)
    start, stop = parse_when("--since", since, now), parse_when("--until", until or "1m", now)
    if start >= stop:
        raise CommandError(f"--since {since} lies not before --until {until or '1m'}")
    if not url.startswith(("http://", "https://")):
        raise CommandError("--url: give an address such as http://127.0.0.1:9090")
    width = parse_duration("--step", step) if step else None
    wanted = Wanted(tuple(match), start, stop, width, _checked(namespace))
    from forewarn.cli.import_display import import_prometheus

    import_prometheus(url, _settings(home), wanted, dry_run)


@app.command("parquet", epilog="Example:\n\n[bold]forewarn import parquet history/2026-*.parquet --namespace shop[/]")
def parquet(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, or folders of .parquet files.")],
    namespace: Namespace = None,
    dry_run: DryRun = False,
    home: Home = None,
) -> None:
    """Copy Parquet files in the long format into the archive; what it has is not stored twice."""
    _files(paths, ".parquet", namespace, dry_run, home)


@app.command("csv", epilog="Example:\n\n[bold]forewarn import csv history.csv --namespace shop --dry-run[/]")
def csv(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, or folders of .csv files.")],
    namespace: Namespace = None,
    dry_run: DryRun = False,
    home: Home = None,
) -> None:
    """Copy CSV files in the long format into the archive; what it has is not stored twice."""
    _files(paths, ".csv", namespace, dry_run, home)


def parse_duration(option: str, text: str) -> timedelta:
    """'90s', '5m', '12h', '30d', '2w', '1y'. Raises CommandError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdwy])", text.strip().lower())
    if not found or float(found[1]) <= 0:
        raise CommandError(f"{option} {text!r}: give a duration such as 90s, 5m, 12h or 30d")
    return timedelta(seconds=float(found[1]) * _UNITS[found[2]])


def parse_when(option: str, text: str, now: datetime) -> datetime:
    """A duration before now, or an ISO time (UTC without a time zone). Raises CommandError."""
    if re.fullmatch(r"\d+(\.\d+)?[a-z]", text.strip().lower()):
        return now - parse_duration(option, text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} {text!r}: give an age such as 30d, or a time such as 2026-01-05T10:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _files(paths: list[Path], suffix: str, namespace: str | None, dry_run: bool, home: Path | None) -> None:
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob(f"*{suffix}")) if path.is_dir() else [path]
        if not inside or not inside[0].exists():
            raise CommandError(f"{path}: there is no {'such file' if not path.is_dir() else f'{suffix} file in it'}")
        files += inside
    wrong = [file for file in files if file.suffix != suffix]
    if wrong:
        raise CommandError(f"{wrong[0]}: its name does not end in {suffix}")
    from forewarn.cli.import_display import import_files

    import_files(files, _settings(home), _checked(namespace), dry_run)


def _checked(namespace: str | None) -> str | None:
    if namespace is not None and (not namespace or "/" in namespace):
        raise CommandError(f"--namespace {namespace!r}: give a name without '/'")
    return namespace


def _settings(home: Path | None) -> "Settings":
    from forewarn.config.running import client_settings

    return client_settings(home)
