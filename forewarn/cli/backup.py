"""`forewarn backup` and `forewarn restore`."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from forewarn.cli.backup_source import database_settings, model_store, program_folders, source_of
from forewarn.cli.database import database_errors
from forewarn.cli.failure import CommandError
from forewarn.cli.options import Home

if TYPE_CHECKING:
    from forewarn.stores.backup_archive import Manifest, Progress

Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there already.")]


def backup(
    target: Annotated[
        Path, typer.Argument(metavar="[FILE|DIR]", help="A folder gets a file named by the time.", show_default=".")
    ] = Path(),
    without: Annotated[
        str, typer.Option(metavar="A,B", help="Leave out: database, models, mlflow, reports, history, config.")
    ] = "",
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Also passwords and tokens of the settings, and keys that sign.")
    ] = False,
    home: Home = None,
    force: Force = False,
) -> None:
    """Save the ledger, incidents, archive, models, reports and configuration to one file, while the stack goes on.

    All that PostgreSQL holds of Forewarn and MLflow, as it is at one moment; the model versions of the registry;
    MLflow's files, reports, the history for training; files that settings name (alerting, rules, responses, scrub,
    Dagster's instance), and settings without secrets.

    Not saved: the broker's log (what came after the back-up comes again from a log that is kept), Dagster's runs,
    features and Feast's stores (made again from the history), service logs, the mailbox, secrets unless told.
    """
    from forewarn.stores.backup import back_up
    from forewarn.stores.backup_archive import BackupError

    console = _console()
    file = _file(target, force)
    with database_settings(console, home, needs_database="database" not in _names(without)) as settings:
        source = source_of(settings, _names(without), with_secrets, home)
        url = settings.postgres_url.get_secret_value()
        with database_errors(), _progress(console) as progress:
            try:
                manifest = back_up(file, url, source, program_folders(), progress)
            except BackupError as error:
                raise CommandError(f"nothing was saved: {error}") from None
    _report(console, file, manifest, with_secrets)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Made by `forewarn backup`.")],
    home: Home = None,
    force: Force = False,
) -> None:
    """Put a back-up into this home and its database; the services must be stopped.

    All is checked, loaded and compared beside what is there, and takes its place at the end: a restore that fails
    changes nothing. With --force a database that holds something is kept under another name. A back-up of an older
    release is upgraded; one of a newer release is refused. Configuration comes to `restored-config` in the home.
    """
    from forewarn.stores.backup import restore as put_back
    from forewarn.stores.backup_archive import DATABASE, ArchiveReader, BackupError

    console = _console()
    try:
        with ArchiveReader(file) as archive:
            needs_database = DATABASE in archive.manifest.members
            with (
                database_settings(console, home, needs_database) as settings,
                database_errors(),
                _progress(console) as progress,
            ):
                url, folder = settings.postgres_url.get_secret_value(), settings.home.resolve()
                done = put_back(archive, url, folder, model_store(folder), program_folders(), force, progress)
    except BackupError as error:
        raise CommandError(f"nothing was restored: {error}") from None
    made = f"{done.manifest.made_at:%Y-%m-%d %H:%M} UTC by Forewarn {done.manifest.version}"
    console.print(f"[green]Restored[/] what was saved on {made}: {_contents(done.manifest)}")
    if done.kept_database:
        console.print(f"The database from before is kept as [bold]{done.kept_database}[/]: drop it when all is well.")
    if any(name.startswith(("config/", "secrets/")) for name in done.manifest.members):
        console.print(f"Configuration is in {escape(str(folder / 'restored-config'))}: take from it what you need.")
    console.print(
        "Start it with: [bold]forewarn up[/]" if home is None else f"Start it with: forewarn up --home {home}"
    )


def _console() -> Console:
    """Where it is told what goes on; from here on a signal to stop ends the command in order, too."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    return Console(stderr=True, highlight=False, soft_wrap=True)


def _file(target: Path, force: bool) -> Path:
    if target.is_dir():
        target = target / f"forewarn-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip"
    if not target.parent.is_dir():
        raise CommandError(f"there is no folder {target.parent}", status=2)
    if target.exists() and not force:
        raise CommandError(f"{target} is there already: choose another name, or --force", status=2)
    return target.resolve()


def _names(text: str) -> set[str]:
    from forewarn.stores.backup import PARTS

    names = {part.strip() for part in text.split(",") if part.strip()}
    if names - set(PARTS):
        raise CommandError(f"--without {', '.join(sorted(names - set(PARTS)))}: there are {', '.join(PARTS)}", status=2)
    return names


@contextmanager
def _progress(console: Console) -> "Iterator[Progress]":
    """Shows what is worked on and how much of it is done; tells it when it ends, too."""
    from rich import progress as bars

    columns = (
        bars.SpinnerColumn(), bars.TextColumn("{task.description}"), bars.DownloadColumn(), bars.TransferSpeedColumn(),
        bars.TimeElapsedColumn(),
    )  # fmt: skip
    tasks: dict[str, bars.TaskID] = {}
    with bars.Progress(*columns, console=console, transient=True) as shown:

        def advance(label: str, count: int) -> None:
            if label not in tasks:
                tasks[label] = shown.add_task(label, total=None)
            shown.advance(tasks[label], count)

        yield advance


def _report(console: Console, file: Path, manifest: "Manifest", with_secrets: bool) -> None:
    for warning in manifest.warnings:
        console.print(f"[yellow]![/] {escape(warning)}")
    size = file.stat().st_size / 2**20
    console.print(f"[green]Saved[/] {size:,.1f} MiB: {_contents(manifest)}")
    if with_secrets:
        console.print("[yellow]It holds secrets:[/] only you may read it; keep it so.")
    typer.echo(str(file))


def _contents(manifest: "Manifest") -> str:
    def rows(table: str) -> int:
        return manifest.tables.get(f"{manifest.schema}.{table}", 0)

    samples = sum(count for name, count in manifest.tables.items() if ".metric_samples_" in name)
    parts = [
        f"{rows('risks'):,} risks, {rows('incidents'):,} incidents, {samples:,} samples"
        if manifest.tables
        else "no database",
        f"{len(manifest.models)} models",
        f"{len(manifest.members):,} files",
    ]  # fmt: skip
    return ", ".join(parts)
