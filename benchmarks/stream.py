"""Ingestion and streaming features at speed: `python -m benchmarks.stream [part …]`, results in results/stream.json."""

import sys

from benchmarks.parts import run_parts

PARTS = {
    "rate": "samples a second from topic to risk",
    "latency": "seconds from sample to risk",
    "memory": "bytes a series",
    "recovery": "seconds after a kill",
    "doors": "what the gateway takes",
    "archive": "what the archiver stores",
    "scale": "1, 2 and 4 predictors; what a million series cost",
    "prometheus": "predict_linear beside us",
    "quix": "Quix Streams beside us",
}


if __name__ == "__main__":
    sys.exit(run_parts("stream", "benchmarks.streaming", PARTS, sys.argv[1:]))
