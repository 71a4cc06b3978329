"""Forewarn's model bundles in BentoML's model store: put, get, verify and load by version, list."""

import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from forewarn.config.settings import Settings
from forewarn.risk.bundle import (
    MANIFEST,
    BundleError,
    Manifest,
    ModelBundle,
    load_bundle,
    read_manifest,
    sha256,
    verified_manifest,
)

NAME = "forewarn"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A bundle in the store. `path` is its folder, for `forewarn.risk.bundle.load_bundle`."""

    version: str
    path: Path
    created_at: datetime
    labels: dict[str, str]
    manifest_sha256: str = ""  # as it was when it was put


def put(folder: Path) -> StoredModel:
    """Copy a bundle folder into the store as `forewarn:VERSION`, with its data interval as labels.

    A version that is there already is left as it is: bundles never change.
    """
    manifest = read_manifest(folder)
    try:
        return get(manifest.version)
    except BundleError:
        pass
    bentoml = _bentoml()
    metadata = {"threshold": manifest.threshold, "manifest_sha256": sha256(folder / MANIFEST)}
    with bentoml.models.create(f"{NAME}:{manifest.version}", labels=_labels(manifest), metadata=metadata) as model:
        shutil.copytree(folder, Path(model.path) / "bundle")
    return get(manifest.version)


def get(version: str) -> StoredModel:
    """The bundle of a version (`forewarn:` before it is allowed).

    Raises BundleError where the store does not have it, or has another manifest than was put: the checksums of the
    files stand in it.
    """
    bentoml = _bentoml()
    tag = f"{NAME}:{version.removeprefix(f'{NAME}:')}"
    try:
        return _untouched(_stored(bentoml.models.get(tag)))
    except bentoml.exceptions.NotFound:
        known = ", ".join(m.version for m in versions()[:5]) or "none"
        raise BundleError(
            f"no model {tag} in the store at {os.environ.get('BENTOML_HOME', '~/bentoml')} (newest there: {known}); "
            "train one, or point BENTOML_HOME at the store that holds it"
        ) from None


def verify(version: str) -> StoredModel:
    """The bundle of a version whose every byte, the manifest's too, is as it was put; nothing is loaded.

    Raises BundleError for one that is not there, was changed, or was trained on other features.
    """
    stored = get(version)
    found = verified_manifest(stored.path).version
    if found != stored.version:
        raise BundleError(f"model {stored.version}: its manifest in {stored.path} says that it is version {found}")
    return stored


def load(version: str) -> ModelBundle:
    """A bundle of the store, verified first: pickles are loaded from here alone. Raises BundleError."""
    return load_bundle(verify(version).path)


def versions() -> list[StoredModel]:
    """All bundles of the store, newest first."""
    bentoml = _bentoml()
    found = [_stored(model) for model in bentoml.models.list() if model.tag.name == NAME]
    return sorted(found, key=lambda m: m.created_at, reverse=True)


def _untouched(stored: StoredModel) -> StoredModel:
    manifest = stored.path / MANIFEST
    if stored.manifest_sha256 and manifest.is_file() and sha256(manifest) != stored.manifest_sha256:
        raise BundleError(
            f"model {stored.version}: {manifest} is not what was saved (its checksum differs); train again, or put "
            "the store back from a backup"
        )
    return stored


def _stored(model: Any) -> StoredModel:
    info = model.info
    digest = str(info.metadata.get("manifest_sha256", ""))
    return StoredModel(
        str(model.tag.version), Path(model.path) / "bundle", info.creation_time, dict(info.labels), digest
    )


def _labels(manifest: Manifest) -> dict[str, str]:
    return {
        "version": manifest.version,
        "feature_version": manifest.feature_version,
        "data_from": f"{manifest.data_from:%Y%m%dT%H%M%SZ}",
        "data_to": f"{manifest.data_to:%Y%m%dT%H%M%SZ}",
    }


def _bentoml() -> Any:
    """BentoML, imported late, with its usage reporting off and its store below FOREWARN_HOME unless told otherwise."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    os.environ.setdefault("BENTOML_HOME", str((Settings().home / "bentoml").absolute()))
    Path(os.environ["BENTOML_HOME"]).mkdir(parents=True, exist_ok=True)
    import bentoml
    import bentoml.exceptions

    return bentoml
