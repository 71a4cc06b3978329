"""What `forewarn backup` takes of the configuration."""

from pathlib import Path

from forewarn.cli.backup_source import source_of
from forewarn.config.settings import Settings

NOT_WRITTEN_BY_A_TEAM = {"home", "dashboard_users"}  # and certificates; users are saved with the secrets


def test_every_file_that_a_team_writes_is_saved(tmp_path: Path) -> None:
    fields = Settings.model_fields
    paths = {name for name, field in fields.items() if field.annotation in (Path, Path | None)}
    names = {n for n in paths if not n.endswith("_file")} - NOT_WRITTEN_BY_A_TEAM | {"scrub"}
    written = {name: tmp_path / f"{name}.yaml" for name in names}
    for path in written.values():
        path.write_text("{}")
    settings = Settings.model_validate({"home": tmp_path, **{name: str(path) for name, path in written.items()}})
    saved = source_of(settings, set(), with_secrets=False, home=tmp_path).config
    assert {path for path in saved.values() if isinstance(path, Path)} == set(written.values())
    assert "responses.yaml" in saved and "dagster_instance.yaml" in saved
