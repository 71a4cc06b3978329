"""A whole run of garbage: the corpus, then what hypothesis draws, then what the topics hold."""

from collections.abc import Callable, Iterator

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.fuzzing import cases
from benchmarks.fuzzing.cases import Case
from benchmarks.fuzzing.doors import DOORS, Door
from benchmarks.fuzzing.run import Fuzzer
from benchmarks.fuzzing.strategies import cases_of

_SIDE_BY_SIDE = 12  # cases of one example: they are sent at once


def attack(fuzzer: Fuzzer, sample: int | None, examples: int, alive: Callable[[], object]) -> list[str]:
    """Every finding, [] without one. sample: damaged cases a door (None: all); examples: of hypothesis, a door."""
    findings = []
    for door in DOORS:
        fuzzer.send(door, door.cases(sample))
        draw(fuzzer, door, examples)
        good = fuzzer.send(door, [Case("good at the end", door.pack(door.good[0]))])
        if not (alive() and good[0] in (200, 204)):
            findings.append(f"{door.name}: a good request is answered {good[0]} after the garbage")
    for door in _unpacking():
        fuzzer.send(door, cases.bombs())
    return findings + fuzzer.tally.wrong + fuzzer.check_topics()


def _unpacking() -> Iterator[Door]:
    """One door of each way to unpack a body."""
    yield next(door for door in DOORS if not door.over_grpc)
    yield from (door for door in DOORS if door.encoding)


def draw(fuzzer: Fuzzer, door: Door, examples: int) -> None:
    """Requests that hypothesis makes, several of an example at once; what is wrong is in the fuzzer's tally."""

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(cases_of(door), min_size=1, max_size=_SIDE_BY_SIDE))
    def some(drawn: list[Case]) -> None:
        fuzzer.send(door, drawn)

    some()
