"""Benchmarks of several parts: run those that are named, all without a name."""

import importlib
import sys
from collections.abc import Mapping, Sequence

from benchmarks.report import show, write


def run_parts(name: str, package: str, parts: Mapping[str, str], wanted: Sequence[str]) -> int:
    """Measure parts (name -> what it measures) by `package.PART.measure()`; the exit code.

    Results are written to results/NAME.json after each part, so that a run that is ended keeps what it measured.
    """
    unknown = set(wanted) - set(parts)
    if unknown:
        print(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}", file=sys.stderr)
        return 2
    results = []
    for part in wanted or parts:
        print(f"{part}: {parts[part]} …", flush=True)
        results += importlib.import_module(f"{package}.{part}").measure()
        write(name, results)
    show(name.capitalize(), results)
    return 0
