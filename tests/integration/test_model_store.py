"""BentoML's model store holds bundles by version."""

from dataclasses import replace
from pathlib import Path

import pytest

from bentos import model_store
from forewarn.risk.bundle import BundleError, ModelBundle, load_bundle, save_bundle


def test_put_get_list(bundle: ModelBundle, tmp_path: Path, bentoml_home: Path) -> None:
    assert model_store.versions() == []
    with pytest.raises(BundleError, match="newest there: none"):
        model_store.get("20260101-120000")
    save_bundle(bundle, tmp_path / "first")
    stored = model_store.put(tmp_path / "first")
    assert stored.labels["feature_version"] == bundle.manifest.feature_version
    assert stored.labels["data_from"] == "20260101T120000Z"
    assert load_bundle(stored.path).version == "20260101-120000"
    assert model_store.put(tmp_path / "first") == stored
    second = replace(bundle, manifest=replace(bundle.manifest, version="20260102-120000"))
    save_bundle(second, tmp_path / "second")
    model_store.put(tmp_path / "second")
    assert [m.version for m in model_store.versions()] == ["20260102-120000", "20260101-120000"]
    assert model_store.get("forewarn:20260101-120000").path == stored.path
    assert str(bentoml_home) in str(stored.path)
