"""Which lines come unexpectedly, in a stream: counts of neighbours beside an LSTM, `python -m benchmarks.log_surprise`.

Lines of HDFS blocks (FOREWARN_DATA/hdfs_sequences) interleave as those of one entity do: so many blocks at a time.
Learned from usual blocks alone; windows of 100 lines of other usual blocks against windows in which some of the
blocks are unusual. Of each window the share of unexpected lines counts, as it does in `log.surprise.ratio`.
"""

import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import data_set, is_here
from benchmarks.report import Result, show, write
from forewarn.detection.log_surprise import NextTemplate
from forewarn.evaluation.datasets.log_sequences import _read
from forewarn.telemetry.connectors.followers import Followers

LEARNED, WINDOW, WINDOWS = 20_000, 100, 200
AT_A_TIME = (1, 8)
SHARES = (0.1, 0.3)
_CHUNK, _RARE, _TOP = 50, 0.01, 9

Lines = list[str]
Method = Callable[[Lines], Callable[[Lines], NDArray[np.bool_]]]  # learn from lines; which of others are unexpected


def interleaved(blocks: Sequence[Sequence[str]], at_a_time: int, count: int, rng: np.random.Generator) -> Lines:
    """So many lines of blocks drawn at random, of which some are under way at any moment."""
    draw = lambda: iter(blocks[int(rng.integers(len(blocks)))])  # noqa: E731
    active, lines = [draw() for _ in range(at_a_time)], []
    while len(lines) < count:
        i = int(rng.integers(at_a_time))
        line = next(active[i], None)
        if line is None:
            active[i] = draw()
        else:
            lines.append(line)
    return lines


def neighbours(lines: Lines) -> Callable[[Lines], NDArray[np.bool_]]:
    """As the connector does it."""
    followers = Followers()
    for start in range(0, len(lines), WINDOW):
        followers.learn(_pairs(lines[max(start - 1, 0) : start + WINDOW]))
    return lambda said: np.array([bool(followers.unexpected(a, b)) for a, b in itertools.pairwise(said)])


def top_of_neighbours(lines: Lines) -> Callable[[Lines], NDArray[np.bool_]]:
    """Not among the nine most frequent after the one before."""
    expected = {a: {b for b, _ in Counter(after).most_common(_TOP)} for a, after in _pairs(lines).items()}
    return lambda said: np.array([b not in expected.get(a, ()) for a, b in itertools.pairwise(said)])


def never_seen(lines: Lines) -> Callable[[Lines], NDArray[np.bool_]]:
    """Templates that were never seen: what the stream has anyway."""
    known = set(lines)
    return lambda said: np.array([line not in known for line in said[1:]])


def lstm(lines: Lines) -> Callable[[Lines], NDArray[np.bool_]]:
    """P(line | the up to fifty before it) below 1 %, by the LSTM of the batch detector."""
    numbers = {name: i for i, name in enumerate(sorted(set(lines)))}
    model = NextTemplate(len(numbers), seed=0)
    model.learn([_numbers(lines[i : i + _CHUNK], numbers) for i in range(0, len(lines), _CHUNK)])

    def judge(said: Lines) -> NDArray[np.bool_]:
        found: list[NDArray[np.bool_]] = []
        for start in range(0, len(said), _CHUNK):
            rows = np.array([[0, *(n + 2 for n in _numbers(said[start : start + _CHUNK], numbers))]])
            probability = model._logits(rows).softmax(-1).detach().numpy()[0]
            found.append(probability[np.arange(len(probability)), rows[0, 1:]] < _RARE)
        return np.concatenate(found)[1:]

    return judge


METHODS: dict[str, Method] = {
    "neighbours": neighbours,
    "top 9 of neighbours": top_of_neighbours,
    "LSTM": lstm,
    "never-seen templates": never_seen,
}


def main() -> None:
    """Print a table, write results/log_surprise.json."""
    if not is_here("hdfs_sequences"):
        return
    data, rng = _read(data_set("hdfs_sequences")), np.random.default_rng(7)
    results = []
    for at_a_time in AT_A_TIME:
        learned = interleaved(data.learn, at_a_time, LEARNED, rng)
        windows = {0.0: [interleaved(data.usual, at_a_time, WINDOW, rng) for _ in range(WINDOWS)]}
        for share in SHARES:
            mixed = _mixed(data.usual, data.unusual, share)
            windows[share] = [interleaved(mixed, at_a_time, WINDOW, rng) for _ in range(WINDOWS)]
        for name, method in METHODS.items():
            print(f"{name}, {at_a_time} at a time …", flush=True)
            results += _judge(name, method(learned), windows, at_a_time)
        write("log_surprise", results)
    show("Unexpected lines", results)


def _judge(
    name: str, unexpected: Callable[[Lines], NDArray[np.bool_]], windows: dict[float, list[Lines]], at_a_time: int
) -> list[Result]:
    began = time.perf_counter()
    ratios = {share: np.array([unexpected(w).mean() for w in several]) for share, several in windows.items()}
    micro = 1e6 * (time.perf_counter() - began) / (sum(len(w) for w in windows.values()) * WINDOW)
    found = []
    for share in SHARES:
        usual, unusual = ratios[0.0], ratios[share]
        above = (unusual[:, None] > usual[None]).mean() + 0.5 * (unusual[:, None] == usual[None]).mean()
        recall = float((unusual > np.quantile(usual, 0.99)).mean())
        note = f"at 1 % false alarms {recall:.0%} are found; usual: {usual.mean():.1%} of lines; {micro:.1f} µs a line"
        what = f"{name}, {at_a_time} at a time, {share:.0%} unusual"
        found.append(Result(what, float(above), "AUC", note=note))
    return found


def _mixed(usual: Sequence[Sequence[str]], unusual: Sequence[Sequence[str]], share: float) -> list[Sequence[str]]:
    """Blocks of which so many are unusual."""
    count = round(len(unusual) * (1 - share) / share)
    repeated = [usual[i % len(usual)] for i in range(count)]
    return [*unusual, *repeated]


def _pairs(lines: Lines) -> dict[str, dict[str, int]]:
    pairs: dict[str, dict[str, int]] = defaultdict(dict)
    for (before, after), count in Counter(itertools.pairwise(lines)).items():
        pairs[before][after] = count
    return pairs


def _numbers(lines: Lines, numbers: dict[str, int]) -> list[int]:
    return [numbers.get(line, len(numbers)) for line in lines]


if __name__ == "__main__":
    main()
