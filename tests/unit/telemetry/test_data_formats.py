"""The examples in docs/data-formats.md are read by the code that they describe."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forewarn.incidents.records import decode_incident
from forewarn.risk.records import decode_observation, decode_risk
from forewarn.telemetry.activity import decode_activity
from forewarn.telemetry.limits import _ALIASES
from forewarn.telemetry.recording import read_recording

PAGE = (Path(__file__).parents[3] / "docs" / "data-formats.md").read_text()
READERS: dict[str, Callable[[bytes], object]] = {
    "activity": decode_activity,
    "risks": decode_risk,
    "observations": decode_observation,
    "incidents": decode_incident,
}


def blocks(section: str, language: str) -> list[str]:
    """Code of a section up to the next heading."""
    text = re.split(r"^#+ ", PAGE.split(f" {section}\n", 1)[1], flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("section", READERS)
def test_examples_are_whole_records(section: str) -> None:
    examples = blocks(section, "json")
    assert examples
    for example in examples:
        record = READERS[section](example.encode())
        if section in ("risks", "incidents"):  # nothing is left to a default
            assert set(json.loads(example)) == set(type(record).__dataclass_fields__)


def test_the_files_of_the_example_recording_are_read(tmp_path: Path) -> None:
    now = pa.array([0], pa.timestamp("ms", tz="UTC"))
    columns = {"timestamp": now, "entity": ["volume"], "signal": ["system.filesystem.usage"], "value": [1.0]}
    pq.write_table(pa.table(columns), tmp_path / "telemetry.parquet")
    (tmp_path / "logs.jsonl").write_text(blocks("Recordings", "json")[0])
    for name, text in zip(("limits", "topology", "failures"), blocks("Recordings", "csv"), strict=True):
        (tmp_path / f"{name}.csv").write_text(text)
    found = read_recording(tmp_path, strict=True)
    assert found.logs is not None and found.logs.bodies == ["GET /work 200 51ms"]
    assert (found.limits[0].value, found.topology, found.failures[0].mode) == (
        32505856,
        (("api", "volume"),),
        "disk_full",
    )


def test_every_known_limit_is_on_the_page() -> None:
    assert [name for name in _ALIASES if f"`{name}`" not in PAGE] == []
