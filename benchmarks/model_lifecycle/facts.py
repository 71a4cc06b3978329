"""What registry, ledger, MLflow, Dagster and the broker of a running stack tell of a model's life."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import psycopg

from benchmarks.model_lifecycle.changing_world import NAMESPACE
from forewarn.config.settings import Settings
from forewarn.evaluation.lifecycle.retraining import DriftReport
from forewarn.simulation.topology import SIGNALS
from forewarn.telemetry import topics

# what the shop sends itself: the connector makes others of its logs and spans
SENT_SIGNALS = sorted({name for rows in SIGNALS.values() for name, _, _ in rows})


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.5)
    return False


class Facts:
    """Reads a stack; changes nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.db = psycopg.connect(settings.postgres_url.get_secret_value(), autocommit=True)

    @property
    def dagster(self) -> Any:
        """The stack's Dagster instance."""
        if not hasattr(self, "_dagster"):
            import dagster as dg

            self._dagster = dg.DagsterInstance.get()
        return self._dagster

    def stage(self, stage: str) -> str | None:
        row = self.db.execute("select version from model_versions where stage = %s", (stage,)).fetchone()
        return row[0] if row else None

    def newest_drift(self) -> DriftReport:
        """As the sensor reads it."""
        row = self.db.execute(_NEWEST_DRIFT).fetchone()
        assert row is not None
        return DriftReport(row[0], row[1], row[2])

    def drift_data_to(self) -> datetime:
        """Event time up to which the newest drift report looked."""
        row = self.db.execute(_NEWEST_DRIFT).fetchone()
        assert row is not None
        return datetime.fromisoformat(row[3])

    def why(self, version: str | None) -> str:
        row = self.db.execute("select reason from model_versions where version = %s", (version,)).fetchone()
        return row[0] if row else ""

    def newest_reason(self) -> str:
        row = self.db.execute(
            "select version, stage, reason from model_versions order by trained_at desc limit 1"
        ).fetchone()
        return ": ".join(row) if row else "no version"

    def audited(self, version: str, action: str) -> bool:
        query = "select actor from audit where subject = %s and action = %s order by audit_id desc limit 1"
        row = self.db.execute(query, (version, action)).fetchone()
        return bool(row and row[0] == "dagster sensor")

    def alias(self, name: str, version: str) -> bool:
        """Whether MLflow's alias comes to point at a version within a minute."""
        from monitor_assets.registry.tracking import open_tracking

        client = open_tracking(self.settings).client

        def points() -> bool:
            held = client.get_registered_model("forewarn").aliases.get(name)
            found = client.get_model_version("forewarn", str(held)).tags if held else {}
            return bool(found.get("forewarn.version") == version)

        return wait_until(points, 60)

    def status(self) -> dict[str, Any]:
        return httpx.post(f"http://127.0.0.1:{self.settings.predictor_port}/status", json={}, timeout=10).json()

    def running_train(self) -> Any:
        import dagster as dg

        live = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
        runs = self.dagster.get_runs(dg.RunsFilter(job_name="train", statuses=live), limit=1)
        return runs[0] if runs else None

    def ended(self, run_id: str) -> bool:
        return bool(self.dagster.get_run_by_id(run_id).is_finished)

    def steps_of(self, run_id: str) -> int:
        return sum(s.status.value == "SUCCESS" for s in self.dagster.get_run_step_stats(run_id) if s.status)

    def ticks_of(self, sensor: str) -> list[Any]:
        state = next((s for s in self.dagster.all_instigator_state() if s.instigator_name == sensor), None)
        return list(self.dagster.get_ticks(state.instigator_origin_id, state.selector_id, limit=300)) if state else []

    def ticks(self, sensor: str, after: float = 0.0) -> int:
        return sum(t.timestamp > after for t in self.ticks_of(sensor))

    def told_in_tick(self, sensor: str, text: str) -> bool:
        return wait_until(lambda: any(text in (t.tick_data.skip_reason or "") for t in self.ticks_of(sensor)), 30)

    def archived(self) -> int:
        row = self.db.execute(_ARCHIVED, {"of": f"{NAMESPACE}/", "signals": SENT_SIGNALS}).fetchone()
        return int(row[0]) if row else 0

    def told_twice(self) -> int:
        """Revisions that are there twice, and episodes opened while another of the same signal was open."""
        row = self.db.execute(_TWICE).fetchone()
        return int(row[0]) if row else 0

    def counts(self) -> dict[str, dict[str, int]]:
        """How much of the story each of them holds."""
        import dagster as dg

        from monitor_assets.registry.tracking import open_tracking

        rows = self.db.execute(
            "select action, count(*) from audit where subject in (select version from model_versions) group by action"
        )
        client = open_tracking(self.settings).client
        experiments = [e.experiment_id for e in client.search_experiments()]
        champions = self.dagster.fetch_materializations(dg.AssetKey("champion_model"), limit=100).records
        by_sensor = self.dagster.get_runs(dg.RunsFilter(tags={"dagster/sensor_name": "retrain"}))
        drift = self.dagster.fetch_materializations(dg.AssetKey("drift_report"), limit=1000).records
        return {
            "audit log": {str(action): int(n) for action, n in rows.fetchall()},
            "ledger": {
                name: self.count(f"select count(*) from {table}")  # noqa: S608
                for name, table in (("risks", "risks"), ("outcomes", "outcomes"), ("failures", "failures"))
            },
            "MLflow": {
                "training runs": len(client.search_runs(experiments)),
                "versions": len(client.search_model_versions("name = 'forewarn'")),
                "aliases": len(client.get_registered_model("forewarn").aliases),
            },
            "Dagster": {
                "trainings by sensor": len(by_sensor),
                "champion materialisations": len(champions),
                "drift reports": len(drift),
                "promotion ticks": len(self.ticks_of("promote_shadow")),
                "roll-back ticks": len(self.ticks_of("roll_back_champion")),
            },
        }

    def count(self, query: str) -> int:
        """The first number of a query."""
        row = self.db.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0

    def risks_lost(self) -> tuple[int, int]:
        """Risks on the topic, and those of them that the ledger does not hold."""
        told = {(m["episode"], m["revision"]) for m in self._read_all(topics.RISKS)}
        kept = {(str(row[0]), int(row[1])) for row in self.db.execute("select episode, revision from risks")}
        return len(told), len(told - kept)

    def _read_all(self, topic: str) -> list[dict[str, Any]]:
        import msgspec
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        settings = {"bootstrap.servers": self.settings.kafka_bootstrap, "group.id": "lifecycle-benchmark"}
        consumer = Consumer({**settings, "enable.auto.commit": False})
        try:
            partitions = list(consumer.list_topics(topic, 10).topics[topic].partitions)
            ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), 10)[1] for p in partitions}
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
            found: list[dict[str, Any]] = []
            left = {p for p, end in ends.items() if end > 0}
            deadline = time.monotonic() + 60
            while left and time.monotonic() < deadline:
                for message in consumer.consume(500, 1.0):
                    if message.error() is None:
                        found.append(msgspec.json.decode(message.value()))
                        if message.offset() + 1 >= ends[message.partition()]:
                            left.discard(message.partition())
            return found
        finally:
            consumer.close()


_NEWEST_DRIFT = """
select created_at, (summary ->> 'drifted_share')::float8, summary -> 'moved', summary ->> 'data_to' from reports
where kind = 'drift' order by created_at desc limit 1
"""
_ARCHIVED = """
select count(*) from metric_samples join metric_series m using (series_id)
where starts_with(m.entity, %(of)s) and m.signal = any(%(signals)s)
"""
_TWICE = """
with opened as (
    select entity, signal, episode, predicted_at, lead(predicted_at) over w as next_at, lead(episode) over w as next
    from risks where revision = 0 and state = 'open' window w as (partition by entity, signal order by predicted_at)
), still_open as (
    select o.* from opened o where o.next is not null
    and exists (select from risks r where r.episode = o.episode and r.state = 'open' and r.expires_at > o.next_at
                and r.predicted_at <= o.next_at)
    and not exists (select from risks r where r.episode = o.episode and r.state = 'withdrawn'
                    and r.predicted_at <= o.next_at)
    and not exists (select from failures f where f.entity = o.entity and f.signal = o.signal
                    and f.failed_at between o.predicted_at and o.next_at)
)
select (select count(*) from still_open)
     + (select count(*) from (select from risks group by episode, revision having count(*) > 1) d)
"""
