"""Back-up and restore: the database from one snapshot and the files that belong to it, in one archive."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg

import forewarn
from forewarn.stores import backup_load as loading
from forewarn.stores.backup_archive import DATABASE, ArchiveReader, BackupError, Manifest, Progress, writing
from forewarn.stores.backup_files import FOLDERS, Placement, Source, save_files
from forewarn.stores.backup_programs import program
from forewarn.stores.backup_snapshot import dumping, snapshot
from forewarn.stores.schema import SchemaState, require_known

PARTS = ("database", "models", *FOLDERS, "config")


@dataclass(frozen=True)
class Restored:
    """What a restore did. kept_database: the name that the database from before has now."""

    manifest: Manifest
    kept_database: str | None
    files: int


def back_up(target: Path, postgres_url: str, source: Source, programs: Sequence[Path], progress: Progress) -> Manifest:
    """Save to `target`, which is there only when all is well, while the stack goes on.

    programs: folders with pg_dump. Raises BackupError, SchemaIsNewerError, psycopg.Error, OSError.
    """
    empty = Manifest(datetime.now(UTC), forewarn.__version__, str(source.home))
    with writing(target, progress) as archive:
        if "database" not in source.parts:
            models, warnings = save_files(source, _stored(source), archive)
            return archive.finish(replace(empty, models=tuple(models), warnings=tuple(warnings)))
        with snapshot(postgres_url) as view:
            dumper = program("pg_dump", view.server, programs)
            with dumping(dumper, view, postgres_url) as dump:
                archive.add(DATABASE, dump, "database")
        models, warnings = save_files(source, view.models, archive)
        return archive.finish(
            replace(
                empty, revision=view.revision, server=view.server, dumper=dumper.major, schema=view.schema,
                tables=view.tables, models=tuple(models), warnings=tuple(warnings),
            )
        )  # fmt: skip


def _stored(source: Source) -> list[str]:
    folder = source.model_store / "models" / "forewarn"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def restore(
    archive: ArchiveReader, postgres_url: str, home: Path, model_store: Path, programs: Sequence[Path],
    force: bool, progress: Progress,
) -> Restored:  # fmt: skip
    """Put an archive back: all is unpacked, loaded and compared beside what is there, then takes its place.

    The database that was there is kept under another name if it held something. Raises BackupError,
    SchemaIsNewerError, psycopg.Error, OSError; then nothing was changed.
    """
    manifest = archive.manifest
    require_known(SchemaState(fresh=False, revision=manifest.revision))
    archive.verify(progress)
    placement = Placement(archive, home, model_store)
    with_database = DATABASE in manifest.members
    held = loading.holdings(postgres_url) if with_database else []
    if not force:
        _refuse_to_overwrite(held, placement.conflicts())
    try:
        placement.stage(progress)
        kept = _restore_database(archive, postgres_url, home, bool(held), programs, progress) if with_database else None
        placement.move()
    finally:
        placement.clear()
    return Restored(manifest, kept, len(placement.targets))


def _restore_database(
    archive: ArchiveReader, postgres_url: str, home: Path, keep_old: bool, programs: Sequence[Path], progress: Progress
) -> str | None:
    _refuse_while_used(postgres_url)
    with loading.beside(postgres_url) as scratch:
        with psycopg.connect(scratch) as connection:
            server = connection.info.server_version // 10_000
        restorer = program("pg_restore", max(archive.manifest.dumper, server), programs)
        with archive.open(DATABASE) as dump:
            loading.load(restorer, dump, archive.manifest, scratch, progress)
        loading.move_artifacts(scratch, Path(archive.manifest.home), home.absolute())
        _refuse_while_used(postgres_url)
        return loading.take_place(scratch, postgres_url, keep_old)


def _refuse_while_used(postgres_url: str) -> None:
    users = loading.users(postgres_url)
    if users:
        raise BackupError(f"the database is in use ({', '.join(users)}): stop the services first")


def _refuse_to_overwrite(held: list[str], conflicts: list[Path]) -> None:
    if held:
        more = f" and {len(held) - 4} more tables" if len(held) > 4 else ""
        raise BackupError(
            f"the database holds something already ({', '.join(held[:4])}{more}): restore into an empty one, or with "
            "--force, which keeps it under another name"
        )
    if conflicts:
        raise BackupError(
            f"{len(conflicts)} files are there already and differ, such as {conflicts[0]}: --force overwrites them"
        )
