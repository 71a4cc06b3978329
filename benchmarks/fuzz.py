"""Garbage against every door, deeply: `python -m benchmarks.fuzz [examples]`, results in results/fuzz.json."""

import os
import subprocess
import sys
import time

from benchmarks.fuzzing.run import Fuzzer
from benchmarks.fuzzing.session import attack
from benchmarks.report import Result, at_most, show, write
from benchmarks.streaming.broker import free_port, running_broker
from benchmarks.streaming.doors import _await_ready

EXAMPLES = 150


def main(arguments: list[str]) -> int:
    """All of the corpus, and `examples` of hypothesis a door. 1 where something was found."""
    examples = int(arguments[0]) if arguments else EXAMPLES
    port, over_grpc = free_port(), free_port()
    with running_broker() as address:
        environment = {
            **os.environ, "FOREWARN_KAFKA_BOOTSTRAP": address, "FOREWARN_GATEWAY_PORT": str(port),
            "FOREWARN_GATEWAY_GRPC_PORT": str(over_grpc), "FOREWARN_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/none",
            "FOREWARN_MAX_AHEAD_SECONDS": "0",  # times are garbage, too: what is of the future is kept and compared
        }  # fmt: skip
        process = subprocess.Popen([sys.executable, "-m", "forewarn.services.gateway"], env=environment)
        fuzzer = Fuzzer(f"http://127.0.0.1:{port}", f"127.0.0.1:{over_grpc}", address)
        try:
            _await_ready(port)
            began = time.perf_counter()
            findings = attack(fuzzer, None, examples, lambda: process.poll() is None)
            took = time.perf_counter() - began
        finally:
            fuzzer.close()
            process.terminate()
            process.wait(15)
    for finding in findings[:50]:
        print(finding[:1000], file=sys.stderr)
    results = _results(fuzzer, len(findings), took)
    write("fuzz", results)
    show("Garbage against every door", results)
    return 1 if findings else 0


def _results(fuzzer: Fuzzer, findings: int, took: float) -> list[Result]:
    tally = fuzzer.tally
    answers = {str(status): float(count) for status, count in sorted(tally.statuses.items())}
    accepted = sum(sum(facts.values()) for facts in tally.accepted.values())
    return [
        Result("requests", tally.requests, "", baselines=answers, note=f"{took:.0f} s, answers by status beside"),
        Result("records accepted and found on the topics", accepted, "", note=f"{tally.messages:,} messages"),
        at_most("findings", findings, "", 0, note="crash, 5xx, accepted and not readable, or not what was accepted"),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
