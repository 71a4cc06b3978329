"""One thing that was read, with OpenTelemetry's name, unit and instrument."""

from enum import Enum
from typing import NamedTuple


class Instrument(Enum):
    """How a value behaves, see opentelemetry.io/docs/specs/otel/metrics/api."""

    GAUGE = "gauge"
    UP_DOWN_COUNTER = "up_down_counter"
    COUNTER = "counter"


class Reading(NamedTuple):
    """A value of a signal now."""

    signal: str
    value: float
    unit: str
    instrument: Instrument = Instrument.UP_DOWN_COUNTER
    attributes: tuple[tuple[str, str], ...] = ()


def limit_of(reading: Reading, value: float) -> Reading:
    """The limit of what was read, as a signal of its own (forewarn/telemetry/limits.py)."""
    return reading._replace(signal=f"{reading.signal}.limit", value=value, instrument=Instrument.UP_DOWN_COUNTER)
