"""`forewarn rules check`: what is wrong is said with line and column, what is doubtful without refusing it."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forewarn.cli.app import app
from forewarn.cli.failure import CommandError

GOOD = "rules:\n  - name: soon\n    when: time_to_failure(p50) < 2h and entity.team == 'a'\n    for: 5m\n"


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", "postgresql://nobody@127.0.0.1:1/none")


def test_a_good_file_is_shown_with_its_doubts(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(GOOD)
    result = CliRunner().invoke(app, ["rules", "check", str(tmp_path / "rules.yaml")])
    assert result.exit_code == 0, result.output
    assert "soon (warning): time_to_failure(p50) < 2h and entity.team == 'a' for 5 min" in result.output
    assert "no entity has a label 'team'" in result.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("p50", "p51"), r"rules.yaml:3:27: rules.0.when: there is no quantile 'p51'"),
        (GOOD + "    channels: [consol]\n", r"rules.yaml:5:16: .*did you mean 'console'"),
    ],
    ids=["condition", "channel"],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    result = CliRunner().invoke(app, ["rules", "check", str(tmp_path / "rules.yaml")])
    assert isinstance(result.exception, CommandError)
    assert re.search(words, str(result.exception)), str(result.exception)
