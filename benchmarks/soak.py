"""Steady load on the whole embedded stack for hours: does memory, files, threads, disk or lag grow, is anything lost?

    python -m benchmarks.soak --minutes 120 --entities 400

The load is a share of what the stack takes at the start, which a burst measures; the picture of the curves is
written beside the results.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psycopg
from rich.console import Console
from scipy.stats import theilslopes

from benchmarks.report import RESULTS, Result, at_most, show, write
from benchmarks.soaking.load import NAMESPACE, SCRAPE_SECONDS, SERIES, Load
from benchmarks.soaking.watch import Curves, watch
from forewarn.cli.up import start_in_background, stop
from forewarn.config.running import client_settings
from forewarn.config.settings import Settings

_FIRST = 0.25  # share of the run that is left out: caches and windows fill
_GROWTH = 3.0  # percent an hour that counts as none: the spread of the slope of a process that holds still
_SMALL_MIB, _SMALL_COUNT = 20.0, 100.0  # a slope is told against at least so much memory, so many files or messages
_FEWEST = 10  # looks that tell a slope
_DRAIN_SECONDS = 300.0
_BURST_SAMPLES = 3e6  # tells what the stack takes
_ENVIRONMENT = {"FOREWARN_GATEWAY_GRPC_PORT": "0", "FOREWARN_PREDICTOR_GRPC_PORT": "0",
                "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it and write `results/soak.json` and `results/soak.svg`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--entities", type=int, default=400, help=f"each sends {SERIES} series every 10 s")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two looks")
    options = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="forewarn-soak-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the database runs as a user of its own
        home = Path(folder) / "home"
        home.mkdir()
        results = list(_soak(home, options.minutes, options.entities, options.every))
    write("soak", results)
    show("Soak", results)


def _soak(home: Path, minutes: float, entities: int, every: float) -> Iterator[Result]:
    console = Console(highlight=False)
    process, _ = start_in_background(console, home, ends_with_parent=True, environment=_ENVIRONMENT)
    try:
        settings = client_settings(home)
        load = Load(f"http://127.0.0.1:{settings.gateway_port}", entities)
        ceiling, burst = _ceiling(load, settings)
        rate = entities * SERIES / SCRAPE_SECONDS
        console.print(f"the whole stack takes {ceiling:,.0f} samples/s; {rate:,.0f} samples/s for {minutes:g} min")
        curves, started = Curves(), time.time()
        load.start()
        while time.time() < started + 60 * minutes and load.error is None:
            watch(home, curves, started)
            _say(console, curves, load)
            time.sleep(max(0.0, started + every * len(curves.minutes) - time.time()))
        load.end()
        if load.error is not None:
            raise load.error
        sent = burst + load.accepted
        archived = _archived(settings, sent)
    finally:
        stop(process)
    _picture(curves, RESULTS / "soak.svg")
    note = f"{rate:,.0f} samples/s of {entities * SERIES:,} series for {curves.minutes[-1]:.0f} min"
    yield Result("load as a share of what the stack took in a burst before it", 100 * rate / ceiling, "%", note=note)
    yield at_most("samples acknowledged and not archived, or archived twice", abs(sent - archived), "samples", 0,
                  note=f"of {sent:,}")  # fmt: skip
    yield at_most("services that were restarted", sum(curves.restarts.values()), "", 0)
    yield at_most("a request behind its time, at the most", load.late_seconds, "s", SCRAPE_SECONDS)
    yield from _growth(curves)


def _ceiling(load: Load, settings: Settings) -> tuple[float, int]:
    """Samples a second from the first request to the last sample in the archive, and how many were sent."""
    load.burst(1, time.time() - 600)  # series become known
    known = _archived(settings, load.accepted)
    began = time.monotonic()
    load.burst(max(4, round(_BURST_SAMPLES / known)), time.time() - 30)
    _archived(settings, load.accepted)
    sent, load.accepted = load.accepted, 0
    return (sent - known) / (time.monotonic() - began), sent


def _archived(settings: Settings, expected: int) -> int:
    """Samples in the archive, as soon as they are as many as expected or no more come for a while."""
    question = (
        "select count(*) from metric_samples join metric_series using (series_id) where entity like %s and time > %s"
    )
    deadline, found = time.monotonic() + _DRAIN_SECONDS, -1
    with psycopg.connect(settings.postgres_url.get_secret_value(), autocommit=True) as connection:
        since = connection.execute("select now() - interval '1 day'").fetchone()
        while time.monotonic() < deadline and found < expected:
            time.sleep(0.5)
            row = connection.execute(question, (f"{NAMESPACE}/%", since[0] if since else None)).fetchone()
            found = int(row[0]) if row else 0
    return found


def _growth(curves: Curves) -> Iterator[Result]:
    """Memory process by process, and of files, threads and lags those that grow most."""
    hours = np.array(curves.minutes) / 60
    late = hours >= _FIRST * hours[-1]
    slopes = {}
    for name, column in sorted(curves.columns.items()):
        values = np.array(column)
        kept = late & np.isfinite(values)
        if kept.sum() >= _FEWEST:
            slopes[name] = (float(np.median(values[kept])), *map(float, theilslopes(values[kept], hours[kept])))
    for name in [n for n in slopes if n.endswith(" MiB")]:
        held = name.startswith(("broker ", "postgres "))  # the log is in memory; the archive is what is asked for
        yield _row(f"growth of memory: {name.removesuffix(' MiB')}", name, slopes[name], _SMALL_MIB, not held)
    for what in ("files", "threads", "lag"):
        named = {n: s for n, s in slopes.items() if what in n and not n.startswith("postgres ")}
        if named:
            worst = max(named, key=lambda n: named[n][1] / max(named[n][0], _SMALL_COUNT))
            yield _row(f"growth of {what}, the most of {len(named)}", worst, named[worst], _SMALL_COUNT, True)


def _row(metric: str, name: str, slope: tuple[float, ...], floor: float, has_goal: bool) -> Result:
    middle, hourly, _, low, high = slope
    percent = 100 * hourly / max(middle, floor)
    note = f"{name}: median {middle:,.1f}, {hourly:+,.2f} an hour (95 %: {low:+,.2f} to {high:+,.2f})"
    if has_goal:
        return at_most(metric, percent, "% an hour", _GROWTH, note=note)
    return Result(metric, percent, "% an hour", note=note)


def _say(console: Console, curves: Curves, load: Load) -> None:
    if not curves.minutes:
        return
    last = {name: values[-1] for name, values in curves.columns.items()}
    memory = " · ".join(f"{n.split()[0]} {v:,.0f}" for n, v in last.items() if n.endswith(" MiB") and v == v)
    lag = sum(v for n, v in last.items() if n.startswith("lag ") and v == v)
    console.print(f"{curves.minutes[-1]:5.0f} min  {load.accepted:,} samples  lag {lag:,.0f}  MiB: {memory}")


def _picture(curves: Curves, path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, (memory, files, lag) = plt.subplots(3, 1, figsize=(9, 10), sharex=True, layout="constrained")
    for axis, ending, title in ((memory, " MiB", "Memory of each process, MiB"), (files, " files", "Open files")):
        for name in sorted(n for n in curves.columns if n.endswith(ending) and not n.startswith("disk")):
            axis.plot(curves.minutes, curves.columns[name], label=name.removesuffix(ending), linewidth=1.2)
        axis.set_title(title, loc="left")
        axis.legend(fontsize=7, ncols=4, loc="upper left")
    for name in sorted(n for n in curves.columns if n.startswith("lag ")):
        lag.plot(curves.minutes, curves.columns[name], label=name.removeprefix("lag "), linewidth=1.2)
    lag.set_title("Messages that are still to be read", loc="left")
    lag.set_xlabel("minutes")
    lag.legend(fontsize=7, ncols=4, loc="upper left")
    figure.savefig(path)


if __name__ == "__main__":
    main()
