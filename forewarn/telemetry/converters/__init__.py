"""Foreign data sets as recordings: one module a data set, one function `read(source) -> Recording` each."""

from collections.abc import Callable
from pathlib import Path

from forewarn.telemetry.recording import Recording


def _nezha(source: Path) -> Recording:
    from forewarn.telemetry.converters import nezha  # pandas is heavy

    return nezha.read(source)


def _realruns(source: Path) -> Recording:
    from forewarn.telemetry.recording import read_recording

    return read_recording(source)


CONVERTERS: dict[str, Callable[[Path], Recording]] = {"nezha": _nezha, "realruns": _realruns}
