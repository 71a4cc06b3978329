"""Ingestion and streaming features at speed: `python -m benchmarks.stream [part …]`, results in results/stream.json."""

import importlib
import sys
from collections.abc import Sequence

from benchmarks.report import show, write

PARTS = {
    "rate": "samples a second from topic to risk",
    "latency": "seconds from sample to risk",
    "memory": "bytes a series",
    "recovery": "seconds after a kill",
    "doors": "what the gateway takes",
    "archive": "what the archiver stores",
    "prometheus": "predict_linear beside us",
    "quix": "Quix Streams beside us",
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
        results += importlib.import_module(f"benchmarks.streaming.{part}").measure()
        write("stream", results)
    show("Streaming", results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
