"""Forewarn's model bundles in BentoML's model store: put, get by version, list."""

import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from forewarn.config.settings import Settings
from forewarn.risk.bundle import BundleError, Manifest, read_manifest

NAME = "forewarn"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A bundle in the store. `path` is its folder, for `forewarn.risk.bundle.load_bundle`."""

    version: str
    path: Path
    created_at: datetime
    labels: dict[str, str]


def put(folder: Path) -> StoredModel:
    """Copy a bundle folder into the store as `forewarn:VERSION`, with its data interval as labels.

    A version that is there already is left as it is: bundles never change.
    """
    manifest = read_manifest(folder)
    try:
        return get(manifest.version)
    except BundleError:
        pass
    labels = _labels(manifest)
    bentoml = _bentoml()
    with bentoml.models.create(
        f"{NAME}:{manifest.version}", labels=labels, metadata={"threshold": manifest.threshold}
    ) as model:
        shutil.copytree(folder, Path(model.path) / "bundle")
    return get(manifest.version)


def get(version: str) -> StoredModel:
    """The bundle of a version (`forewarn:` before it is allowed).

    Raises BundleError where the store does not have it.
    """
    bentoml = _bentoml()
    tag = f"{NAME}:{version.removeprefix(f'{NAME}:')}"
    try:
        return _stored(bentoml.models.get(tag))
    except bentoml.exceptions.NotFound:
        known = ", ".join(m.version for m in versions()[:5]) or "none"
        raise BundleError(
            f"no model {tag} in the store at {os.environ.get('BENTOML_HOME', '~/bentoml')} (newest there: {known}); "
            "train one, or point BENTOML_HOME at the store that holds it"
        ) from None


def versions() -> list[StoredModel]:
    """All bundles of the store, newest first."""
    bentoml = _bentoml()
    found = [_stored(model) for model in bentoml.models.list() if model.tag.name == NAME]
    return sorted(found, key=lambda m: m.created_at, reverse=True)


def _stored(model: Any) -> StoredModel:
    info = model.info
    return StoredModel(str(model.tag.version), Path(model.path) / "bundle", info.creation_time, dict(info.labels))


def _labels(manifest: Manifest) -> dict[str, str]:
    return {
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
