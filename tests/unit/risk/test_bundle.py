"""A bundle comes back as it was saved, or is refused with a reason."""

import json
from pathlib import Path

import numpy as np
import pytest

from forewarn.risk.bundle import BundleError, ModelBundle, load_bundle, save_bundle


@pytest.fixture
def folder(bundle: ModelBundle, tmp_path: Path) -> Path:
    """The bundle, saved."""
    save_bundle(bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_scores_the_same_after_a_round_trip(bundle: ModelBundle, folder: Path, feature_rows: np.ndarray) -> None:
    loaded = load_bundle(folder)
    assert loaded.manifest.forecaster_of == {"load": "neural"} and loaded.manifest.data_to == bundle.manifest.data_to
    before, after = bundle.scorer(), loaded.scorer()
    assert after.threshold == 0.4 and after.version == "20260101-120000"
    np.testing.assert_array_equal(after.survival(feature_rows), before.survival(feature_rows))
    np.testing.assert_array_equal(after.quantiles(feature_rows), before.quantiles(feature_rows))
    np.testing.assert_array_equal(loaded.anomaly.score(feature_rows), bundle.anomaly.score(feature_rows))


def test_other_features_are_refused(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "feature_version": "0"}))
    with pytest.raises(BundleError, match=r"features of version 0, this program computes version .* train again"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["hazard/hazard.txt", "anomaly/isolation_forest.joblib"])
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleError, match="checksum"):
        load_bundle(folder)


def test_a_missing_or_unknown_file_is_refused(folder: Path) -> None:
    (folder / "extra.pkl").write_bytes(b"x")
    with pytest.raises(BundleError, match="not in the manifest"):
        load_bundle(folder)
    (folder / "extra.pkl").unlink()
    (folder / "hazard/hazard.json").unlink()
    with pytest.raises(BundleError, match="is missing"):
        load_bundle(folder)


def test_a_bundle_is_never_overwritten(bundle: ModelBundle, folder: Path) -> None:
    with pytest.raises(FileExistsError, match="never changed"):
        save_bundle(bundle, folder)


def test_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no model bundle"):
        load_bundle(tmp_path)
