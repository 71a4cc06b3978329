"""The alerting file in force: what is wrong never ends the alerter."""

import os
from pathlib import Path

import pytest

from forewarn.config.settings import Settings
from forewarn.services.alerter.alerting_file import AlertingFile

GOOD = "channels: {c: {kind: console}}\nroute: {channels: [c]}\n"


def written(path: Path, text: str, second: int) -> None:
    """With a time stamp of its own."""
    path.write_text(text)
    os.utime(path, (second, second))


@pytest.mark.parametrize("wrong", ["{{ mail }}", "!text", "&again [*again]", "[", "!!int x"])
def test_the_old_file_holds_on_when_the_new_one_is_wrong(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forewarn.services.alerter.alerting_file._LOOK_SECONDS", 0.0)
    path = tmp_path / "alerting.yaml"
    written(path, GOOD, 1)
    file, audited = AlertingFile(Settings(alerting=path)), list[str]()
    before = file.policy
    written(path, GOOD.replace("[c]", wrong), 2)
    assert not file.refresh(lambda action, reason: audited.append(action))
    assert file.policy is before
    assert audited == ["keep the old alerting file"]
