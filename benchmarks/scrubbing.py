"""What scrubbing costs a log record: `python -m benchmarks.scrubbing`, results in results/scrubbing.json."""

import statistics
import sys
import time

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from benchmarks.report import Result, show, write
from forewarn.telemetry.otlp_check import check
from forewarn.telemetry.otlp_split import parse, split_by_entity
from forewarn.telemetry.scrub import Scrubber

RECORDS, ROUNDS = 1000, 15
PLAIN = (
    "GET /api/v1/orders/{n} 200 {m}ms",
    "INFO dfs.DataNode$PacketResponder: Received block blk_{n} of size {m} from /10.251.1.{m}",
    "worker {m}: job {n} finished after {m} ms, queue holds {m}",
    "connection pool: {m} of 50 in use, wait {m} ms",
)
SECRET = (
    "login of user{n}@example.org from 10.0.0.{m}",
    "retry https://shop:pa{n}ss@db.example:5432/shop?token=abc{n}def",
    'request {{"user": {n}, "password": "hunter{m}"}} refused',
    "card 4111 1111 1111 1111 charged for order {n}",
)


def request(share: float) -> bytes:
    """An export of RECORDS lines, of which a share holds something to replace."""
    draw = np.random.default_rng(7)
    export = ExportLogsServiceRequest()
    records = export.resource_logs.add().scope_logs.add().log_records
    for n in range(RECORDS):
        forms = SECRET if draw.random() < share else PLAIN
        body = forms[n % len(forms)].format(n=1000 + n, m=n % 250)
        pairs = [
            KeyValue(key=k, value=AnyValue(string_value=v)) for k, v in (("thread", f"t-{n % 8}"), ("logger", "a.B"))
        ]
        records.add(time_unix_nano=1_767_614_400 * 10**9 + n, body=AnyValue(string_value=body), attributes=pairs)
    return bytes(export.SerializeToString())


def microseconds(work: object) -> float:
    """Median of ROUNDS, of processor time, a record."""
    taken = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()  # type: ignore[operator]
        taken.append(time.process_time() - started)
    return round(statistics.median(taken) / RECORDS * 1e6, 3)


def results() -> list[Result]:
    """Beside each figure, what the door does with the same request anyway: parse, check times, cut by entity."""
    scrubber, found = Scrubber(), []
    for share in (0.0, 0.01, 0.1, 1.0):
        body = request(share)

        def door(body: bytes = body) -> object:
            return split_by_entity(check("logs", body, parse("logs", body)).payload)

        cost = microseconds(lambda body=body: scrubber.otlp("logs", body))
        note = f"{RECORDS} records a request, {scrubber.otlp('logs', body)[1].total()} replacements; processor time"
        beside = {"the door without": microseconds(door)}
        found.append(
            Result(f"scrubbing, {share:.0%} of records with a secret", cost, "µs a record", "", None, beside, note)
        )
    return found


def main() -> int:
    """Print and write the table."""
    measured = results()
    show("What scrubbing costs", measured)
    write("scrubbing", measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
