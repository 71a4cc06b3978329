"""The whole life of a model on the whole embedded stack, with an accelerated clock: drift to roll-back, by sensors."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.model_lifecycle.changing_world import NAMESPACE, Clock, Stream, World, send_history
from benchmarks.report import Result, at_most
from forewarn.cli.up import start_in_background, stop
from forewarn.config.running import StackState, client_settings, read_state
from forewarn.simulation.recording import Recording
from forewarn.simulation.topology import SIGNALS

SPEED = 2400.0  # event seconds a second: a day in 36 s
DAYS_BEFORE_DRIFT = 1.3  # a whole day of the new world, as the daily job would see it
ENVIRONMENT = {
    "FOREWARN_LATENESS_SECONDS": "120",
    "FOREWARN_LIFECYCLE_INTERVAL_SECONDS": "5",
    "FOREWARN_RETRAIN_COOLDOWN_HOURS": "0",
    "FOREWARN_RETRAIN_NEW_LABELS": "100000",  # drift is what is shown here
    "FOREWARN_SHADOW_MIN_INCIDENTS": "5",
    "FOREWARN_SHADOW_MAX_DAYS": "60",
    "FOREWARN_GATEWAY_GRPC_PORT": "0",
    "FOREWARN_PREDICTOR_GRPC_PORT": "0",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


# what the shop sends itself: the connector makes others of its logs and spans
SENT_SIGNALS = sorted({name for rows in SIGNALS.values() for name, _, _ in rows})


class NotReachedError(Exception):
    """A step that did not happen in time; those after it cannot be shown."""


@dataclass(frozen=True)
class Step:
    """A line of the timeline. reason: as the audit log, a tick or the run tells it."""

    name: str
    event_time: datetime | None
    wall_seconds: float
    reason: str
    met: bool = True


@dataclass
class Life:
    """One run of it: the stack, the world, and what was seen."""

    home: Path
    world: World
    console: Console
    began: float = field(default_factory=time.monotonic)
    steps: list[Step] = field(default_factory=list)
    checks: list[Result] = field(default_factory=list)

    def run(self) -> None:
        """All steps in order. Raises NotReachedError."""
        recording = self.world.record()
        process, state = start_in_background(self.console, self.home, ends_with_parent=True, environment=ENVIRONMENT)
        try:
            self._connect(state)
            self.note("stack ready", "")
            self._live(recording)
        finally:
            if hasattr(self, "clock"):
                self.clock.end()
            if hasattr(self, "stream"):
                self.stream.end()
            stop(process)

    def _connect(self, state: StackState) -> None:
        self.settings = client_settings(self.home)
        self.url = self.settings.postgres_url.get_secret_value()
        dagster = urlunsplit(urlsplit(self.url)._replace(path="/dagster"))
        self.environment = {
            **os.environ, **ENVIRONMENT, **state.environment, "FOREWARN_HOME": str(self.home),
            "DAGSTER_HOME": str(self.home / "dagster"), "DAGSTER_POSTGRES_URL": dagster,
            "BENTOML_HOME": str(self.home / "bentoml"),
        }  # fmt: skip
        os.environ.update({n: self.environment[n] for n in ("DAGSTER_HOME", "DAGSTER_POSTGRES_URL", "BENTOML_HOME")})
        self.db = psycopg.connect(self.url, autocommit=True)

    def _live(self, recording: Recording) -> None:
        gateway = f"http://127.0.0.1:{self.settings.gateway_port}"
        live_ns = self.world.live_ns(recording)
        self.history = send_history(recording, gateway, None, live_ns)
        self.note("history sent", f"{self.history.samples:,} samples of {self.world.history_days:g} days")
        self._first_champion()
        self.clock = Clock(self.url)
        self.stream = Stream(recording, gateway, None, live_ns, SPEED)
        self.stream.start()
        released = datetime.fromtimestamp(live_ns / 1e9, self.history.event_time.tzinfo)
        self.note("release: twice the memory per request", "all services within 75 min")
        self.until(lambda: self.now() >= released + timedelta(days=DAYS_BEFORE_DRIFT), "the clock did not go on", 600)
        self._drift()
        self._retrained_in_spite_of_a_crash()
        self._rolled_back()
        self._nothing_lost()

    def _first_champion(self) -> None:
        self.job("train")
        champion = self.stage("champion")
        self.note("first training → champion", self.why(champion) if champion else self.newest_reason(), bool(champion))
        self.require(champion, "the first model was withheld: " + self.newest_reason())
        self.first = str(champion)
        self.until(lambda: self.status()["model_version"] == champion, "the predictor did not take it up", 60)

    def _drift(self) -> None:
        self.job("drift")
        row = self.db.execute("select summary from reports where kind = 'drift' order by created_at desc limit 1")
        summary = (row.fetchone() or ({},))[0]
        self.note("drift seen (job `drift`)", json.dumps(summary), summary.get("drifted_share", 0) >= 0.4)

    def _retrained_in_spite_of_a_crash(self) -> None:
        self.until(lambda: self.running_train() is not None, "the sensor started no training", 180)
        run = self.running_train()
        self.note("training started by sensor `retrain`", run.tags.get("forewarn/reason", ""))
        self.check("training was asked for by the sensor", run.tags.get("dagster/sensor_name") == "retrain")
        self.until(lambda: self.steps_of(run.run_id) >= 3, "the training makes no progress", 180)
        self._kill_daemon()
        self.until(lambda: self.ended(run.run_id), "the training did not end", 600)
        self.note("training ended", str(self.dagster.get_run_by_id(run.run_id).status.value))
        self.until(lambda: bool(self.newer()), "nothing came of the candidate: " + self.newest_reason(), 120)
        self.second = str(self.newer())
        shadows = self.stage("shadow") == self.second
        self.note("candidate shadows" if shadows else "no shadow: nobody served", self.why(self.second), shadows)
        if shadows:
            self.check("MLflow: alias shadow", self.alias("shadow", self.second))
            self._promoted()

    def newer(self) -> str | None:
        """The version after the first, where it shadows or serves."""
        return next((v for v in (self.stage("shadow"), self.stage("champion")) if v not in (None, self.first)), None)

    def _kill_daemon(self) -> None:
        before = self.ticks("promote_shadow")
        service = read_state(self.home).service("dagster-daemon")  # type: ignore[union-attr]
        psutil.Process(service.pid).kill()  # type: ignore[union-attr,arg-type]
        killed = time.time()
        self.note("Dagster's daemon killed (SIGKILL) in the middle of the training", f"pid {service.pid}")  # type: ignore[union-attr]
        self.check(
            "killed daemon: no half-promoted model",
            self.stage("champion") in (None, self.first) and not self.stage("shadow"),
        )
        self.until(lambda: self.ticks("promote_shadow", killed) > 0, "no tick after the daemon's crash", 180)
        self.note("sensors tick again", f"{before} ticks before, {time.time() - killed:.0f} s without any")

    def _promoted(self) -> None:
        self.until(lambda: self.stage("champion") == self.second or not self.stage("shadow"),
                   lambda: "not promoted before the stream ended: " + self.why(self.second), 900)  # fmt: skip
        done = self.stage("champion") == self.second
        self.note("promoted by sensor `promote_shadow`" if done else "NOT promoted", self.why(self.second), done)
        self.require(done, "the shadow was not promoted: " + self.why(self.second))
        self.check("audit: promoted by the sensor", self.audited(self.second, "promote"))
        self.check("MLflow: alias champion", self.alias("champion", self.second))
        self.check("Dagster: tick tells the promotion", self.told_in_tick("promote_shadow", "promote: better"))
        self.until(lambda: self.status()["model_version"] == self.second, "the predictor did not take it up", 60)

    def _rolled_back(self) -> None:
        file = max((self.home / "bentoml").rglob(f"{self.second}/bundle/**/*.txt"), key=lambda p: p.stat().st_size)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.chmod(0o644)
        file.write_bytes(content)
        self.note("champion sabotaged", f"one bit of {file.name} changed")
        self.until(lambda: self.stage("champion") != self.second, "not rolled back", 120)
        self.note("rolled back by sensor `roll_back_champion`", self.why(self.second))
        before = self.why(self.first) if self.stage("champion") != self.first else ""
        self.check("the champion before serves again", not before, before)
        self.check("audit: rolled back by the sensor", self.audited(self.second, "roll back"))
        if not before:
            self.check("MLflow: alias champion goes back", self.alias("champion", self.first))
        self.check("Dagster: tick tells the roll-back", self.told_in_tick("roll_back_champion", "rolled back"))
        self.until(lambda: self.status()["model_version"] != self.second, "the predictor did not take it up", 60)

    def _nothing_lost(self) -> None:
        self.stream.end()
        assert self.stream.sent is not None
        last = self.stream.sent.event_time - timedelta(minutes=4)  # lateness, and the cell that is not over
        self.until(lambda: self.now() >= last, "the end of the stream was not scored", 120)
        sent = self.history.samples + self.stream.sent.samples
        self.until(lambda: self.archived() >= sent, "samples are missing in the archive", 120, fail=False)
        self.note("stream ended", f"{sent:,} samples sent, {self.archived():,} in the archive")
        self.checks.append(at_most("lifecycle: samples sent and not in the archive", sent - self.archived(), "", 0))
        self.checks.append(
            at_most("lifecycle: longest standstill of the event clock", self.clock.longest_standstill(), "s", 15)
        )
        counters = self.status()["counters"]  # of all namespaces, and of the series that are made of logs and spans
        late = counters.get("late_total", 0) / max(counters.get("samples_total", 1), 1)
        self.checks.append(Result("lifecycle: samples too late for the windows", float(late), "share"))
        self.checks.append(at_most("lifecycle: risks told twice", self.told_twice(), "", 0))

    # what is there to be seen

    @property
    def dagster(self) -> Any:
        """The stack's Dagster instance."""
        if not hasattr(self, "_dagster"):
            import dagster as dg

            self._dagster = dg.DagsterInstance.get()
        return self._dagster

    def now(self) -> datetime:
        """Event time up to which all is scored."""
        return self.clock.now or self.history.event_time

    def job(self, name: str) -> None:
        command = [sys.executable, "-m", "monitor_assets.launch", name, "--namespace", NAMESPACE]
        if subprocess.run(command, env=self.environment, check=False).returncode:
            raise NotReachedError(f"the job {name} failed")

    def stage(self, stage: str) -> str | None:
        row = self.db.execute("select version from model_versions where stage = %s", (stage,)).fetchone()
        return row[0] if row else None

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

        return self.until(points, "", 60, fail=False)

    def status(self) -> dict[str, Any]:
        return httpx.post(f"http://127.0.0.1:{self.settings.predictor_port}/status", json={}, timeout=10).json()  # type: ignore[no-any-return]

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
        return self.until(
            lambda: any(text in (t.tick_data.skip_reason or "") for t in self.ticks_of(sensor)), "", 30, fail=False
        )

    def archived(self) -> int:
        row = self.db.execute(_ARCHIVED, {"of": f"{NAMESPACE}/", "signals": SENT_SIGNALS}).fetchone()
        return int(row[0]) if row else 0

    def told_twice(self) -> int:
        """Revisions that are there twice, and episodes opened while another of the same signal was open."""
        row = self.db.execute(_TWICE).fetchone()
        return int(row[0]) if row else 0

    # timeline

    def note(self, name: str, reason: str, met: bool = True) -> None:
        at = self.now() if hasattr(self, "clock") else (self.history.event_time if hasattr(self, "history") else None)
        self.steps.append(Step(name, at, time.monotonic() - self.began, reason, met))
        self.console.print(
            f"{self.steps[-1].wall_seconds:6.0f} s  {at and format(at, '%m-%d %H:%M')}  {name}: {reason}",
            soft_wrap=True,
        )

    def check(self, name: str, met: bool, note: str = "") -> None:
        self.checks.append(Result(f"lifecycle: {name}", float(met), "", "yes", met, note=note))
        self.console.print(f"          {'✓' if met else '✗'} {name}")

    def require(self, met: object, why: str) -> None:
        if not met:
            raise NotReachedError(why)

    def until(self, done: Callable[[], bool], why: str | Callable[[], str], seconds: float, fail: bool = True) -> bool:
        """Whether it comes true in time; raises NotReachedError where it does not and `fail` is set."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if done():
                return True
            time.sleep(0.5)
        if fail:
            raise NotReachedError(why if isinstance(why, str) else why())
        return False


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


def measure(world: World | None = None, home: Path | None = None) -> list[Result]:
    """Run it on a stack of its own; a result for each step and each check."""
    console = Console(highlight=False, width=200)
    life = Life(home or Path(mkdtemp(prefix="forewarn-lifecycle-")), world or World(), console)
    not_reached = ""
    try:
        life.run()
    except NotReachedError as error:
        not_reached = str(error)
        console.print(f"not reached: {error}")
    _show(life, console)
    results = [
        Result(f"lifecycle step: {s.name}", s.wall_seconds, "s", "reached", s.met,
               note=f"event time {s.event_time:%m-%d %H:%M}; {s.reason}" if s.event_time else s.reason)
        for s in life.steps
    ]  # fmt: skip
    lasted = life.steps[-1].wall_seconds if life.steps else 0.0
    whole = Result(
        "lifecycle: drift to roll-back by sensors", lasted, "s", "every step", not not_reached, note=not_reached
    )
    return [*results, *life.checks, whole]


def _show(life: Life, console: Console) -> None:
    table = Table(title="Timeline", title_justify="left")
    for column in ("step", "event time", "wall", "reason"):
        table.add_column(column, overflow="fold")
    for s in life.steps:
        at = f"{s.event_time:%m-%d %H:%M}" if s.event_time else ""
        table.add_row(s.name if s.met else f"{s.name} (not met)", at, f"{s.wall_seconds:.0f} s", s.reason)
    console.print(table)
