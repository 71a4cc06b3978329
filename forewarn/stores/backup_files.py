"""Which files of a home are saved, and how they come back: staged beside their place, then moved."""

import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forewarn.risk.bundle import BundleError, read_manifest, sha256
from forewarn.stores.backup_archive import ArchiveReader, ArchiveWriter, BackupError, Progress

FOLDERS = {"mlflow": "mlflow", "reports": "reports", "history": "history/namespaces"}  # part -> below the home
KEYS = ("link.key", "dashboard.key")  # that sign links in alerts and sessions of the dashboard
_MODELS, _CONFIG, _SECRETS = "models", "config", "secrets"
_STAGING = ".restoring"
RESTORED_CONFIG = "restored-config"


@dataclass(frozen=True)
class Source:
    """What is saved of a machine. model_store: BENTOML_HOME. config, secrets: name in the archive -> content or file.

    parts: of 'database', 'models', 'mlflow', 'reports', 'history', 'config'.
    """

    home: Path
    model_store: Path
    parts: frozenset[str]
    config: Mapping[str, bytes | Path]
    secrets: Mapping[str, bytes | Path]


def save_files(source: Source, models: Sequence[str], archive: ArchiveWriter) -> tuple[list[str], list[str]]:
    """Put all files into an archive; the versions of models that are in it, and what was left out, in words."""
    saved, warnings = _save_models(source, models, archive) if "models" in source.parts else ([], [])
    for part, folder in FOLDERS.items():
        if part in source.parts:
            for path in _files(source.home / folder):
                _add(archive, f"{part}/{path.relative_to(source.home / folder)}", path, part, warnings)
    for name, content in source.config.items():
        _add(archive, f"{_CONFIG}/{name}", content, _CONFIG, warnings)
    for name, content in source.secrets.items():
        _add(archive, f"{_SECRETS}/{name}", content, _SECRETS, warnings)
    return saved, warnings


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _add(archive: ArchiveWriter, name: str, content: bytes | Path, label: str, warnings: list[str]) -> None:
    if isinstance(content, bytes):
        archive.add(name, io.BytesIO(content), label)
        return
    try:
        with content.open("rb") as file:
            archive.add(name, file, label)
    except FileNotFoundError:
        warnings.append(f"{content} went away while it was to be saved")


def _save_models(source: Source, models: Sequence[str], archive: ArchiveWriter) -> tuple[list[str], list[str]]:
    saved, warnings = [], list[str]()
    for version in models:
        folder = source.model_store / "models" / "forewarn" / version
        problem = _problem(folder / "bundle")
        if problem:
            warnings.append(f"model {version} is not in the back-up: {problem}")
            continue
        for path in _files(folder):
            _add(archive, f"{_MODELS}/{version}/{path.relative_to(folder)}", path, _MODELS, warnings)
        saved.append(version)
    return saved, warnings


def _problem(bundle: Path) -> str:
    """Why a bundle is not worth saving: it is away, or not what was put there."""
    if not bundle.is_dir():
        return f"{bundle} is not there"
    try:
        told = read_manifest(bundle).files
        changed = [name for name, digest in told.items() if sha256(bundle / name) != digest]
    except (BundleError, OSError) as error:
        return str(error)
    return f"{bundle / changed[0]} is not what was put there" if changed else ""


class Placement:
    """Where the files of an archive go in a home, and their coming there."""

    def __init__(self, archive: ArchiveReader, home: Path, model_store: Path) -> None:
        self._archive, self._home = archive, home
        self._staging = home / _STAGING
        models = model_store / "models" / "forewarn"
        self.targets = {name: models / name.removeprefix(f"{_MODELS}/") for name in archive.names(_MODELS)}
        for part, folder in FOLDERS.items():
            self.targets |= {n: home / folder / n.removeprefix(f"{part}/") for n in archive.names(part)}
        self.targets |= {n: home / RESTORED_CONFIG / n.removeprefix(f"{_CONFIG}/") for n in archive.names(_CONFIG)}
        for name in archive.names(_SECRETS):
            file = name.removeprefix(f"{_SECRETS}/")
            self.targets[name] = home / file if file in KEYS else home / RESTORED_CONFIG / file
        self._newest = models / "latest" if archive.manifest.models else None

    def conflicts(self) -> list[Path]:
        """Files that are there already and are not the same."""
        members = self._archive.manifest.members
        return [path for name, path in self.targets.items() if path.exists() and sha256(path) != members[name].sha256]

    def stage(self, progress: Progress) -> None:
        """Unpack beside the places, on the same disk. Raises BackupError, OSError."""
        shutil.rmtree(self._staging, ignore_errors=True)
        for name in self.targets:
            staged = self._staging / name
            staged.parent.mkdir(parents=True, exist_ok=True)
            self._unpack(name, staged, progress)

    def _unpack(self, name: str, staged: Path, progress: Progress) -> None:
        digest = hashlib.sha256()
        private = name.startswith((f"{_SECRETS}/", f"{_CONFIG}/"))
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
        with self._archive.open(name) as source, os.fdopen(descriptor, "wb") as target:
            while chunk := source.read(1 << 20):
                target.write(chunk)
                digest.update(chunk)
                progress("files", len(chunk))
        if digest.hexdigest() != self._archive.manifest.members[name].sha256:
            raise BackupError(f"{name} of {self._archive.path} changed while it was read")

    def move(self) -> None:
        """Put what is staged in its place. Raises OSError."""
        for name, path in self.targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self._staging / name, path)
        if self._newest is not None and not self._newest.exists():
            self._newest.write_text(self._archive.manifest.models[-1])
        self.clear()

    def clear(self) -> None:
        """Nothing staged is left."""
        shutil.rmtree(self._staging, ignore_errors=True)
