"""What more predictors bring, and what a million series cost each part: processor time, memory, disk.

Processor time per sample is measured while a part works as fast as it can, so it does not depend on how many cores the
machine has or who else uses them; a million series scraped every 10 s are 100,000 samples a second.
"""

from collections.abc import Iterator

from benchmarks.report import Result, at_least
from benchmarks.streaming import memory
from benchmarks.streaming.archive import archive
from benchmarks.streaming.broker import running_broker, send
from benchmarks.streaming.doors import cpu_seconds_per_million
from benchmarks.streaming.fleet import Fleet
from benchmarks.streaming.rate import HISTORY, history, run, scrapes

ENTITIES, SCRAPES, SERIES = 400, 240, 50
SCRAPE_SECONDS, DAY_SECONDS = 10.0, 86_400.0
_MILLION = 1e6 / SCRAPE_SECONDS / 1e6  # million samples a second of a million series
_ARCHIVED_SCRAPES = 100


def measure(entities: int = ENTITIES, scrape_count: int = SCRAPES) -> list[Result]:
    """1, 2 and 4 predictors on one group, then the cost of each part."""
    past, runs = entities * SERIES * HISTORY, {}
    for n in (1, 2, 4):
        with running_broker(4) as address:  # a log of its own: what one has told is not scored again
            send(address, history(Fleet(entities)))
            send(address, scrapes(Fleet(entities), scrape_count))
            runs[n] = run(address, "stream", n, past, past + entities * SERIES * scrape_count)
    results = []
    for n, one in runs.items():
        balance = min(one.samples) / max(one.samples)
        cpu = sum(one.cpu_seconds) / sum(one.samples) * 1e6
        results += [
            Result(f"{n} predictors of one group", one.rate, "samples/s", note="2 cores, sender and broker idle"),
            at_least(f"{n} predictors: the least busy beside the busiest", balance, "share of samples", 0.7),
            Result(f"{n} predictors: processor time", cpu, "s per million samples"),
        ]
    return [*results, *_costs(sum(runs[1].cpu_seconds) / sum(runs[1].samples) * 1e6)]


def _costs(predictor_cpu: float) -> Iterator[Result]:
    stored = archive(ENTITIES, _ARCHIVED_SCRAPES)
    per_million = stored.samples / 1e6
    cores = {
        "gateway": cpu_seconds_per_million() * _MILLION,
        "archiver": stored.archiver_cpu / per_million * _MILLION,
        "PostgreSQL": stored.postgres_cpu / per_million * _MILLION,
        "predictor": predictor_cpu * _MILLION,
    }
    note = "extrapolated: processor time per sample × 100,000 samples/s"
    for part, value in cores.items():
        yield Result(f"a million series at 10 s: {part}", value, "cores", note=note)
    windows = memory.measure((100_000,))[0].value
    held = None if windows is None else windows * 1e6 / 2**30
    yield Result("a million series: windows of the predictors", held, "GiB", note="extrapolated from 100,000 series")
    daily = stored.stored_bytes / stored.samples * _MILLION * 1e6 * DAY_SECONDS / 2**30
    size = f"{stored.stored_bytes / stored.samples:.1f} B a sample with its indexes, as PostgreSQL stores it"
    yield Result("a million series at 10 s: archive", daily, "GiB a day", note=f"extrapolated; {size}")
