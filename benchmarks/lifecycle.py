"""Models that look after themselves, measured: `python -m benchmarks.lifecycle [part …]`, results/lifecycle.json."""

import importlib
import sys
from collections.abc import Sequence

from benchmarks.report import show, write

PARTS = {
    "learning": "five retrainings while warnings are acted upon: what three ways to label lose",
    "budget": "false pages beside the budget while the world drifts",
    "smoke": "whether a broken model is noticed by the smoke test, and after how many runs",
    "backfill": "90 days of samples from the archive to files, by day",
    "end_to_end": "drift, retraining, shadow, promotion and roll-back by sensors on a whole stack, accelerated clock",
    "retraining": "a full training: 30 days, 200 entities, 20 signals at 1 min",
}


def main(wanted: Sequence[str]) -> int:
    """Run the parts named, all without a name."""
    unknown = set(wanted) - set(PARTS)
    if unknown:
        print(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    results = []
    for part in wanted or PARTS:
        print(f"{part}: {PARTS[part]} …", flush=True)
        results += importlib.import_module(f"benchmarks.model_lifecycle.{part}").measure()
        write("lifecycle", results)
    show("Lifecycle", results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
