"""Garbage against every door of a real gateway: no crash, no 5xx, and what it accepts is on the topic and can be read.

FOREWARN_FUZZ_EXAMPLES draws more of it (3 times 12 a door by default); `make bench-fuzz` sends the whole corpus.
"""

import os

from integration.processes import answers, service, wait_until
from servers import free_port

from benchmarks.fuzzing.cases import Case
from benchmarks.fuzzing.doors import DOORS
from benchmarks.fuzzing.run import Fuzzer
from benchmarks.fuzzing.session import attack
from forewarn.telemetry import topics

EXAMPLES = int(os.environ.get("FOREWARN_FUZZ_EXAMPLES", "3"))


def test_garbage_is_refused_and_what_is_taken_can_be_read_back(own_broker: str) -> None:
    http, over_grpc = free_port(), free_port()
    url = f"http://127.0.0.1:{http}"
    with service(
        "forewarn.services.gateway", kafka_bootstrap=own_broker, gateway_port=str(http), log_level="ERROR",
        gateway_grpc_port=str(over_grpc), postgres_url="postgresql://nobody@127.0.0.1:1/none",
        max_ahead_seconds="0",  # times are garbage, too: what is of the future is kept, so that a loss of it is seen
    ) as gateway:  # fmt: skip
        wait_until(lambda: answers(f"{url}/readyz"), 60, "readiness of the gateway")
        fuzzer = Fuzzer(url, f"127.0.0.1:{over_grpc}", own_broker)
        try:
            findings = attack(fuzzer, 20 * EXAMPLES, EXAMPLES, lambda: gateway.poll() is None)
            assert findings == []
            assert fuzzer.tally.statuses[400] > 500
            assert set(fuzzer.tally.accepted) >= {door.topic for door in DOORS}
            assert sum(fuzzer.tally.accepted[topics.METRICS].values()) > 100
            _a_loss_would_be_seen(fuzzer)
        finally:
            fuzzer.close()


def _a_loss_would_be_seen(fuzzer: Fuzzer) -> None:
    """The check itself can fail: a record that is said to be accepted and is not on the topic is a finding."""
    door = DOORS[0]
    fuzzer._remember(door, Case("never sent", door.good[0]), "never sent")
    assert any("not held" in finding for finding in fuzzer.check_topics())
