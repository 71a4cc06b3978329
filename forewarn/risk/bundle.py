"""A model bundle: everything that scores, in one folder with a manifest and a checksum of every file."""

import hashlib
import shutil
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from forewarn.classification.hazard import HazardModel
from forewarn.detection.detector import AnomalyDetector
from forewarn.detection.isolation_forest import IsolationForestDetector
from forewarn.features.definitions import FEATURE_NAMES, FEATURE_VERSION
from forewarn.forecasting.time_to_failure import TimeToFailureModel
from forewarn.risk.scorer import TrainedScorer

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
HAZARD, TIME, ANOMALY, FORECASTER = "hazard", "time_to_failure", "anomaly", "forecaster"
DETECTORS: dict[str, type[AnomalyDetector]] = {"isolation_forest": IsolationForestDetector}


class BundleError(RuntimeError):
    """A bundle that must not be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says about itself.

    version: unique. data_from, data_to: event times of the training history. threshold: probability within 360 steps
    from which on a risk is told. forecaster_of: class of signal -> chosen forecaster ('load': 'neural' or
    'seasonal_naive'). calibration: named factors that were fitted on later data than the model. metrics: name ->
    {'value': …, 'baselines': {name: …}}. trained_on: 'namespace', 'signals' (those with a limit that were there to
    learn from), 'code_version', 'feature_service'. files: path in the folder -> sha256.
    """

    version: str
    trained_at: datetime
    data_from: datetime
    data_to: datetime
    threshold: float
    forecaster_of: dict[str, str] = field(default_factory=dict)
    calibration: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    detector: str = "isolation_forest"
    feature_version: str = FEATURE_VERSION
    feature_names: tuple[str, ...] = FEATURE_NAMES
    trained_on: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    schema_version: int = MANIFEST_VERSION


@dataclass(frozen=True, slots=True, eq=False)
class ModelBundle:
    """The models that score together. `forecaster` is a folder of `NeuralForecaster`, which is loaded only by who
    forecasts: its libraries are heavy."""

    manifest: Manifest
    hazard: HazardModel
    time: TimeToFailureModel
    anomaly: AnomalyDetector
    forecaster: Path | None = None

    @property
    def version(self) -> str:
        """The version that risks name."""
        return self.manifest.version

    def scorer(self) -> TrainedScorer:
        """What the predictor scores with."""
        return TrainedScorer(self.version, self.manifest.threshold, self.hazard, self.time)


def save_bundle(bundle: ModelBundle, folder: Path) -> Manifest:
    """Write a bundle into `folder`, which is created; returns the manifest with the checksums.

    Raises FileExistsError where the folder holds files already: a bundle is never changed.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; a bundle is never changed, choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    bundle.hazard.save(folder / HAZARD)
    bundle.time.save(folder / TIME)
    bundle.anomaly.save(folder / ANOMALY)
    if bundle.forecaster is not None:
        shutil.copytree(bundle.forecaster, folder / FORECASTER)
    files = {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    manifest = replace(bundle.manifest, files=files)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(asdict(manifest)), indent=2))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle, nothing else is read. Raises BundleError where it is missing or not readable."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BundleError(f"{folder} holds no {MANIFEST}: this is no model bundle") from None
    except msgspec.MsgspecError as error:
        raise BundleError(f"{folder / MANIFEST} cannot be read: {error}") from error


def verified_manifest(folder: Path) -> Manifest:
    """The manifest, after its feature version and the checksum of every file were compared; nothing is loaded.

    Raises BundleError where it was trained on other features, or where a file is missing, changed or unknown.
    """
    manifest = read_manifest(folder)
    if manifest.feature_version != FEATURE_VERSION or manifest.feature_names != FEATURE_NAMES:
        raise BundleError(
            f"model {manifest.version} was trained on features of version {manifest.feature_version}, this program "
            f"computes version {FEATURE_VERSION}: train again (Dagster's job 'train') or run the one that trained it"
        )
    _check_files(folder, manifest)
    return manifest


def load_bundle(folder: Path) -> ModelBundle:
    """Read a bundle that was verified before: some of its files are pickles, which would run what they hold.

    Raises BundleError.
    """
    manifest = verified_manifest(folder)
    detector = DETECTORS.get(manifest.detector)
    if detector is None:
        raise BundleError(f"model {manifest.version} has a detector '{manifest.detector}' that is not known here")
    return ModelBundle(
        manifest,
        HazardModel.load(folder / HAZARD),
        TimeToFailureModel.load(folder / TIME),
        detector.load(folder / ANOMALY),
        folder / FORECASTER if (folder / FORECASTER).is_dir() else None,
    )


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_files(folder: Path, manifest: Manifest) -> None:
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    for name in sorted(there ^ manifest.files.keys()):
        what = "is missing" if name in manifest.files else "is not in the manifest"
        raise BundleError(f"model {manifest.version}: {folder / name} {what}; fetch the model again from its store")
    for name, expected in manifest.files.items():
        if sha256(folder / name) != expected:
            raise BundleError(
                f"model {manifest.version}: {folder / name} is not what was saved (its checksum differs); "
                "fetch the model again from its store"
            )
