"""What `forewarn import` shows: how much there is, a bar with rate and time left, what was left out."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from forewarn.cli.database import database_errors
from forewarn.cli.failure import CommandError
from forewarn.config.settings import Settings
from forewarn.services.importing.long_table import LongFormatError, LongReader, Tally
from forewarn.services.lifecycle import stop_event
from forewarn.stores.imports import Imports
from forewarn.stores.schema import create_tables

if TYPE_CHECKING:
    from forewarn.services.importing.prometheus import Progress as Imported
    from forewarn.services.importing.prometheus import PrometheusImport, Wanted
    from forewarn.services.importing.prometheus_api import PrometheusApi

_LINE_EVERY_SECONDS = 10.0  # where the output is no terminal


def import_prometheus(url: str, settings: Settings, wanted: "Wanted", dry_run: bool) -> None:
    """Import with a display. Raises CommandError; exits 130 when interrupted."""
    from forewarn.services.importing.prometheus import PrometheusImport
    from forewarn.services.importing.prometheus_api import PrometheusError

    console = Console(highlight=False, soft_wrap=True)
    try:
        with database_errors(), _api(url, settings) as api, _imports(settings) as imports:
            work = PrometheusImport(api, imports, wanted)
            _import_prometheus(console, work, wanted, dry_run)
    except PrometheusError as error:
        raise CommandError(str(error)) from error


def import_files(files: list[Path], settings: Settings, namespace: str | None, dry_run: bool) -> None:
    """Import files with a display. Raises CommandError; exits 130 when interrupted."""
    console = Console(highlight=False, soft_wrap=True)
    stop, reader, total, samples, new = stop_event(), LongReader(namespace), Tally(), 0, 0
    size = sum(file.stat().st_size for file in files)
    try:
        with database_errors(), _bar(console) as bar, _imports(settings) as imports:
            line = _Line(console, bar, max(size, 1))
            for file in files:
                tally, before = Tally(), line.completed
                for batch in reader.read(file, tally):
                    samples += len(batch)
                    new += 0 if dry_run else imports.store([batch])
                    line.show(file.name, before, samples)
                    if stop.is_set():
                        raise CommandError("stopped; run the same command again to go on", 130)
                _tell_bad(console, file, tally)
                total.rows += tally.rows
                total.bad += tally.bad
                line.show(file.name, before + file.stat().st_size, samples)
    except LongFormatError as error:
        raise CommandError(str(error)) from error
    told = "nothing was stored (--dry-run)" if dry_run else f"{new:,} are new in the archive"
    console.print(f"{samples:,} samples in {total.rows:,} rows of {len(files)} files; {told}")
    if total.bad:
        console.print(f"[yellow]{total.bad:,} bad rows were left out[/]")


def _import_prometheus(console: Console, work: "PrometheusImport", wanted: "Wanted", dry_run: bool) -> None:
    stop = stop_event()
    for selector, count in work.count_series().items():
        console.print(f"[bold]{escape(selector)}[/]: {count:,} series")
    parts = work.plan()
    console.print(
        f"{wanted.start:%Y-%m-%d %H:%M} to {wanted.stop:%Y-%m-%d %H:%M} UTC: about {work.progress.expected:,} samples "
        f"are left to import" + ("" if parts else "; all of it was imported before")
    )
    if dry_run or not parts:
        return
    with _bar(console) as bar:
        line = _Line(console, bar, max(work.progress.expected, 1))
        work.on_progress = lambda p: line.show(f"{p.at:%Y-%m-%d %H:%M}" if p.at else "", p.read, p.read)
        work.run(parts, stop)
    _summarise(console, work.progress)
    if not work.progress.done:
        raise CommandError(
            f"stopped at {work.progress.at:%Y-%m-%d %H:%M} UTC; run the same command again to go on", 130
        )


def _summarise(console: Console, progress: "Imported") -> None:
    rate = progress.read / max(progress.seconds, 1e-9)
    console.print(
        f"read {progress.read:,} samples in {progress.pieces:,} pieces, {progress.seconds:.1f} s ({rate:,.0f} "
        f"samples/s); {progress.new:,} are new in the archive"
    )
    if progress.without_series:
        console.print(f"[yellow]{progress.without_series:,} label sets without a name were left out[/]")


class _Line:
    """The bar; a line every ten seconds where the output is no terminal."""

    def __init__(self, console: Console, bar: Progress, total: int) -> None:
        self._console, self._bar = console, bar
        self._task = bar.add_task("", total=total, rate="")
        self._began = self._told = time.monotonic()
        self.completed = 0

    def show(self, what: str, completed: int, samples: int) -> None:
        self.completed = completed
        rate = f"{samples / max(time.monotonic() - self._began, 1e-9):,.0f} samples/s"
        self._bar.update(self._task, completed=completed, description=escape(what), rate=rate)
        if not self._console.is_terminal and time.monotonic() - self._told > _LINE_EVERY_SECONDS:
            self._told = time.monotonic()
            self._console.print(f"{escape(what)}  {samples:,} samples, {rate}")


def _bar(console: Console) -> Progress:
    columns: list[Any] = [TextColumn("[bold]{task.description}"), BarColumn(), TaskProgressColumn()]
    columns += [TextColumn("{task.fields[rate]}"), TimeRemainingColumn()]
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _tell_bad(console: Console, file: Path, tally: Tally) -> None:
    for line, reason in tally.first_bad:
        console.print(
            f"[yellow]{escape(str(file))}, {'row' if file.suffix == '.parquet' else 'line'} {line}:[/] {reason}"
        )
    if tally.bad > len(tally.first_bad):
        console.print(f"[yellow]{escape(str(file))}: and {tally.bad - len(tally.first_bad):,} more bad rows[/]")


def _api(url: str, settings: Settings) -> "PrometheusApi":
    from forewarn.services.importing.prometheus_api import PrometheusApi

    token, password = settings.prometheus_token, settings.prometheus_password
    login = (settings.prometheus_user, password.get_secret_value() if password else "")
    return PrometheusApi(
        url,
        token=token.get_secret_value() if token else None,
        login=(login[0], login[1]) if login[0] else None,
    )


def _imports(settings: Settings) -> Imports:
    url = settings.postgres_url.get_secret_value()
    create_tables(url)
    return Imports(url)
