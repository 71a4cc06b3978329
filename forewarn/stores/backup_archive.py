"""The file of a back-up: a zip archive with a manifest that has the size and SHA-256 of everything in it."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Self

import msgspec

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "database.dump"
_CHUNK = 1 << 20

Progress = Callable[[str, int], None]  # what is worked on, and how many bytes of it were done since the last call


class BackupError(RuntimeError):
    """What could not be saved or put back; the message says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the archive."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive says about itself.

    version: of the Forewarn that made it. home: the folder it was made of. revision: of the tables. server, dumper:
    major versions of PostgreSQL. schema: that of our tables. tables: schema.table -> rows. models: versions that are
    in it. warnings: what was left out, in words.
    """

    made_at: datetime
    version: str
    home: str
    format: int = FORMAT
    revision: str | None = None
    server: int = 0
    dumper: int = 0
    schema: str = "public"
    tables: dict[str, int] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    members: dict[str, Member] = field(default_factory=dict)


class ArchiveWriter:
    """Streams members into an archive. See `writing`."""

    def __init__(self, archive: zipfile.ZipFile, progress: Progress) -> None:
        self._archive, self._progress = archive, progress
        self.members: dict[str, Member] = {}

    def add(self, name: str, source: IO[bytes], label: str) -> Member:
        """Copy a stream to its end. What is packed already (dumps, Parquet) is not packed again."""
        digest, size = hashlib.sha256(), 0
        info = zipfile.ZipInfo(name)
        packed = name == DATABASE or name.endswith((".parquet", ".png", ".joblib", ".gz", ".zst"))
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        with self._archive.open(info, "w", force_zip64=True) as target:
            while chunk := source.read(_CHUNK):
                target.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                self._progress(label, len(chunk))
        self.members[name] = Member(size, digest.hexdigest())
        return self.members[name]

    def finish(self, manifest: Manifest) -> Manifest:
        """Write the manifest, with the members."""
        whole = replace(manifest, members=self.members)
        self._archive.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(whole), indent=1))
        return whole


@contextmanager
def writing(target: Path, progress: Progress) -> Iterator[ArchiveWriter]:
    """An archive that comes to stand at `target` when the block ends well, whole and synced; else nothing does.

    Only its owner may read it. Raises OSError.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
                yield ArchiveWriter(archive, progress)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        _sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ArchiveReader:
    """An archive that is read. Use as a context manager; raises BackupError for what is no whole archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
            self.manifest = msgspec.json.decode(self._archive.read(MANIFEST), type=Manifest)
        except FileNotFoundError:
            raise BackupError(f"there is no file {path}") from None
        except (zipfile.BadZipFile, KeyError, EOFError, msgspec.MsgspecError, OSError) as error:
            raise BackupError(f"{path} is no back-up of Forewarn, or it is not whole: {error}") from None
        if self.manifest.format > FORMAT:
            raise BackupError(
                f"{path} was made by Forewarn {self.manifest.version} in format {self.manifest.format}, this one reads "
                f"formats up to {FORMAT}: restore it with that release or a newer one"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def verify(self, progress: Progress) -> None:
        """Compare every byte with the manifest. Raises BackupError for what is missing, changed or unknown."""
        there, told = set(self._archive.namelist()) - {MANIFEST}, set(self.manifest.members)
        if there != told:
            raise BackupError(f"{self.path}: {', '.join(sorted(there ^ told)[:3])}: in the archive or its list alone")
        for name, member in self.manifest.members.items():
            _inside(name)
            if self._digest(name, progress) != member.sha256:
                raise BackupError(f"{self.path} is damaged: {name} is not what was saved; use another back-up")

    def open(self, name: str) -> IO[bytes]:
        """The bytes of a member."""
        return self._archive.open(name)

    def names(self, folder: str) -> list[str]:
        """Members below a folder."""
        return sorted(name for name in self.manifest.members if name.startswith(f"{folder}/"))

    def _digest(self, name: str, progress: Progress) -> str:
        digest = hashlib.sha256()
        try:
            with self._archive.open(name) as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    progress("checking", len(chunk))
        except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:  # a checksum of the zip format
            raise BackupError(f"{self.path} is damaged: {name}: {error}; use another back-up") from None
        return digest.hexdigest()


def _inside(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise BackupError(f"the archive names a file outside of itself: {name}")
