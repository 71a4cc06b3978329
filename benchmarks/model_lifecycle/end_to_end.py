"""The whole life of a model on the whole embedded stack, with an accelerated clock: drift to roll-back, by sensors."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlsplit, urlunsplit

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.model_lifecycle.changing_world import NAMESPACE, Clock, Stream, World, send_history
from benchmarks.model_lifecycle.facts import Facts, wait_until
from benchmarks.report import Result, at_most
from forewarn.cli.up import start_in_background, stop
from forewarn.config.running import StackState, client_settings, read_state
from forewarn.simulation.recording import Recording

SPEED = float(os.environ.get("FOREWARN_BENCH_SPEED", 1200))  # event seconds a second: a day in 72 s
PATIENCE = float(os.environ.get("FOREWARN_BENCH_PATIENCE", 1))  # times as long as a quiet machine needs
MIN_INCIDENTS = 3  # of a shadow: the default of 8 takes days of event time, and minutes here
DAYS_FOR_SHADOW = 8.0  # event time that the sensor has for its verdict
MOST_TRAININGS = 3  # until a candidate passes the offline gate
DAYS_FOR_DRIFT = 3.0  # event time in which the drift must have been seen
ENVIRONMENT = {
    "FOREWARN_LATENESS_SECONDS": "120",
    "FOREWARN_LIFECYCLE_INTERVAL_SECONDS": "5",
    "FOREWARN_RETRAIN_COOLDOWN_HOURS": "0",
    "FOREWARN_RETRAIN_NEW_LABELS": "100",  # a week or more here; drift asks sooner
    "FOREWARN_SHADOW_MIN_INCIDENTS": str(MIN_INCIDENTS),
    "FOREWARN_SHADOW_MAX_DAYS": "60",
    "FOREWARN_GATEWAY_GRPC_PORT": "0",
    "FOREWARN_PREDICTOR_GRPC_PORT": "0",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


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
    _waits_for: str = ""

    def run(self) -> None:
        """All steps in order. Raises NotReachedError."""
        recording = self.world.record()
        process, state = start_in_background(self.console, self.home, ends_with_parent=True, environment=ENVIRONMENT)
        try:
            self._connect(state)
            self.note("stack ready", "")
            self._live(recording)
        finally:
            if hasattr(self, "stream"):
                self.stream.end()
            if hasattr(self, "clock"):
                self.clock.end()
            stop(process)

    def _connect(self, state: StackState) -> None:
        self.settings = client_settings(self.home)
        url = self.settings.postgres_url.get_secret_value()
        dagster = urlunsplit(urlsplit(url)._replace(path="/dagster"))
        self.environment = {
            **os.environ, **ENVIRONMENT, **state.environment, "FOREWARN_HOME": str(self.home),
            "DAGSTER_HOME": str(self.home / "dagster"), "DAGSTER_POSTGRES_URL": dagster,
            "BENTOML_HOME": str(self.home / "bentoml"),
        }  # fmt: skip
        os.environ.update({n: self.environment[n] for n in ("DAGSTER_HOME", "DAGSTER_POSTGRES_URL", "BENTOML_HOME")})
        self.facts = Facts(self.settings)

    def _live(self, recording: Recording) -> None:
        gateway = f"http://127.0.0.1:{self.settings.gateway_port}"
        live_ns = self.world.live_ns(recording)
        self.history = send_history(recording, gateway, None, live_ns)
        self.note("history sent", f"{self.history.samples:,} samples of {self.world.history_days:g} days")
        self._first_champion()
        self.clock = Clock(self.settings.postgres_url.get_secret_value())
        self.clock.stream = self.stream = Stream(recording, gateway, None, live_ns, SPEED)
        self.stream.start()
        self.released = datetime.fromtimestamp(live_ns / 1e9, self.history.event_time.tzinfo)
        self.note("release: twice the memory per request", "all services within 75 min")
        self._drift()
        self._retrained_in_spite_of_a_crash()
        self._promoted()
        self._rolled_back()
        self._nothing_lost()
        self._facts_found()

    def _first_champion(self) -> None:
        self.job("train")
        champion = self.facts.stage("champion")
        why = self.facts.why(champion) if champion else self.facts.newest_reason()
        self.note("first training → champion", why, bool(champion))
        self.require(champion, "the first model was withheld: " + why)
        self.first = str(champion)
        self.until(lambda: self.facts.status()["model_version"] == champion, "the predictor did not take it up", 60)

    def _drift(self) -> None:
        """Drift jobs one after the other, as the schedule would start them every six hours of a day of real time."""
        half = self.released + timedelta(hours=12)
        self.until(lambda: self.now() >= half, "the clock did not go on", 600)
        while True:
            self.job("drift")
            report = self.facts.newest_drift()
            told = str(report)
            if report.drifted:
                break
            self.note("no drift yet", told)
            last = self.released + timedelta(days=DAYS_FOR_DRIFT)
            self.require(self.facts.drift_data_to() < last, "no drift was seen: " + told)
        hours = (self.facts.drift_data_to() - self.released).total_seconds() / 3600
        self.note("drift seen (job `drift`)", told)
        self.row("release to drift verdict, event time", hours, "h", f"data of the report; {told}")
        self.between("release to drift verdict", "release: twice the memory per request", "drift seen (job `drift`)")

    def _retrained_in_spite_of_a_crash(self) -> None:
        self.until(lambda: self.facts.running_train() is not None, "the sensor started no training", 180)
        run = self.facts.running_train()
        self.note("training started by sensor `retrain`", run.tags.get("forewarn/reason", ""))
        self.check("training was asked for by the sensor", run.tags.get("dagster/sensor_name") == "retrain")
        self.check("its reason is the drift", "moved" in run.tags.get("forewarn/reason", "")
                   or "drifted" in run.tags.get("forewarn/reason", ""))  # fmt: skip
        self.until(lambda: self.facts.steps_of(run.run_id) >= 3, "the training makes no progress", 180)
        self._kill_daemon(run.run_id)
        self._ended(run.run_id)
        for _ in range(MOST_TRAININGS - 1):
            if self.newer():
                break
            self.note("candidate withheld by the offline gate", self.facts.newest_reason(), False)
            self.until(lambda: self.facts.running_train() is not None, "no other training was started", 900)
            again = self.facts.running_train()
            self.note("training started by sensor `retrain` again", again.tags.get("forewarn/reason", ""))
            self._ended(again.run_id)
        self.require(self.newer(), "no shadow: " + self.facts.newest_reason())
        self.second = str(self.newer())
        shadows = self.facts.stage("shadow") == self.second
        self.note("candidate shadows", self.facts.why(self.second), shadows)
        self.require(shadows, "the candidate serves without a shadow: " + self.facts.why(self.first))
        self.between("drift verdict to candidate in shadow", "drift seen (job `drift`)", "candidate shadows")
        self.check("MLflow: alias shadow", self.facts.alias("shadow", self.second))

    def _ended(self, run_id: str) -> None:
        self.until(lambda: self.facts.ended(run_id), "the training did not end", 600)
        self.note("training ended", str(self.facts.dagster.get_run_by_id(run_id).status.value))

    def newer(self) -> str | None:
        """The version after the first, where it shadows or serves."""
        stages = (self.facts.stage("shadow"), self.facts.stage("champion"))
        return next((v for v in stages if v not in (None, self.first)), None)

    def _kill_daemon(self, run_id: str) -> None:
        before = self.facts.ticks("promote_shadow")
        service = read_state(self.home).service("dagster-daemon")  # type: ignore[union-attr]
        psutil.Process(service.pid).kill()  # type: ignore[union-attr,arg-type]
        killed = time.time()
        self.note("Dagster's daemon killed (SIGKILL) in the middle of the training", f"pid {service.pid}")  # type: ignore[union-attr]
        half = self.facts.stage("champion") not in (None, self.first) or bool(self.facts.stage("shadow"))
        self.check("killed daemon: no half-promoted model", not half)
        self.check("killed daemon: the training had not ended", not self.facts.ended(run_id))
        self.until(lambda: self.facts.ticks("promote_shadow", killed) > 0, "no tick after the daemon's crash", 180)
        self.note("sensors tick again", f"{before} ticks before, {time.time() - killed:.0f} s without any")

    def _promoted(self) -> None:
        """By the sensor; by hand where it has not decided in time, so that the rest of the story is shown."""
        late = self.now() + timedelta(days=DAYS_FOR_SHADOW)
        self.until(lambda: self._verdict_on_the_shadow() or self.now() > late, "the clock stands still", 1500)
        done = self.facts.stage("champion") == self.second
        why = self.facts.why(self.second)
        self.check("promoted by the sensor `promote_shadow`", done, why)
        if not done:
            self._promoted_by_hand(why)
        self.note("promoted by sensor `promote_shadow`" if done else "promoted by hand", self.facts.why(self.second))
        if done:
            name = f"shadow to promotion, FOREWARN_SHADOW_MIN_INCIDENTS={MIN_INCIDENTS} (default 8)"
            self.between(name, "candidate shadows", "promoted by sensor `promote_shadow`")
            self.check("audit: promoted by the sensor", self.facts.audited(self.second, "promote"))
            tick = self.facts.told_in_tick("promote_shadow", "promote: better")
            self.check("Dagster: tick tells the promotion", tick)
        self.check("MLflow: alias champion", self.facts.alias("champion", self.second))
        self.until(lambda: self.facts.status()["model_version"] == self.second, "the predictor did not take it up", 60)

    def _promoted_by_hand(self, why: str) -> None:
        """As an operator would, who wants the fresher model."""
        about = ["-m", f"no verdict in {DAYS_FOR_SHADOW:g} days: {why}", "--yes", "--home", str(self.home)]
        command = [sys.executable, "-m", "forewarn.cli.app", "models", "promote", self.second, *about]
        done = subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True)
        self.require(done.returncode == 0, f"`forewarn models promote` failed: {done.stderr or done.stdout}")

    def _verdict_on_the_shadow(self) -> bool:
        """Whether there is one; what the sensor waits for is printed when it changes. A newer candidate that passed
        the offline gate has taken the shadow's place."""
        self.second = self.newer() or self.second
        why = self.facts.why(self.second)
        if why != self._waits_for:
            self._waits_for = why
            self.console.print(f"            {self.now():%m-%d %H:%M}  {why}", soft_wrap=True)
        self.require(self.facts.stage("champion"), "the champion went before: " + self.facts.why(self.first))
        self.require(not self.stream.over, "the stream has ended: " + why)
        return self.facts.stage("champion") == self.second or not self.facts.stage("shadow")

    def _rolled_back(self) -> None:
        file = max((self.home / "bentoml").rglob(f"{self.second}/bundle/**/*.txt"), key=lambda p: p.stat().st_size)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.chmod(0o644)
        file.write_bytes(content)
        self.note("champion sabotaged", f"one bit of {file.name} changed")
        self.until(lambda: self.facts.stage("champion") != self.second, "not rolled back", 120)
        self.note("rolled back by sensor `roll_back_champion`", self.facts.why(self.second))
        self.between("sabotage to roll-back", "champion sabotaged", "rolled back by sensor `roll_back_champion`")
        before = self.facts.why(self.first) if self.facts.stage("champion") != self.first else ""
        self.check("the champion before serves again", not before, before)
        self.check("audit: rolled back by the sensor", self.facts.audited(self.second, "roll back"))
        if not before:
            self.check("MLflow: alias champion goes back", self.facts.alias("champion", self.first))
        self.check("Dagster: tick tells the roll-back", self.facts.told_in_tick("roll_back_champion", "rolled back"))
        self.until(lambda: self.facts.status()["model_version"] != self.second, "the predictor did not take it up", 60)

    def _nothing_lost(self) -> None:
        self.stream.end()
        assert self.stream.sent is not None
        last = self.stream.sent.event_time - timedelta(minutes=4)  # lateness, and the cell that is not over
        self.until(lambda: self.now() >= last, "the end of the stream was not scored", 120)
        sent = self.history.samples + self.stream.sent.samples
        wait_until(lambda: self.facts.archived() >= sent, 120 * PATIENCE)
        archived = self.facts.archived()
        self.note("stream ended", f"{sent:,} samples sent, {archived:,} in the archive")
        self.checks.append(at_most("lifecycle: samples sent and not in the archive", sent - archived, "", 0))
        wait_until(lambda: self.facts.risks_lost()[1] == 0, 60 * PATIENCE)
        told, lost = self.facts.risks_lost()
        self.checks.append(at_most("lifecycle: risks told and not in the ledger", lost, "", 0, note=f"{told} told"))
        still = self.clock.longest_standstill()
        behind = max(self.clock.behind, default=float("nan")) / SPEED
        note = f"wall time; scored lay at most {behind:.1f} s of wall time behind what was sent"
        self.checks.append(at_most("lifecycle: longest standstill of the event clock", still, "s", 15, note=note))
        counters = self.facts.status()["counters"]  # of all namespaces, and of the series that are made of logs
        late = counters.get("late_total", 0) / max(counters.get("samples_total", 1), 1)
        self.checks.append(Result("lifecycle: samples too late for the windows", float(late), "share"))
        self.checks.append(at_most("lifecycle: risks told twice", self.facts.told_twice(), "", 0))

    def _facts_found(self) -> None:
        for where, counted in self.facts.counts().items():
            told = ", ".join(f"{n} {name}" for name, n in counted.items())
            self.note(f"facts in {where}", told)
            found = sum(counted.values())
            self.checks.append(Result(f"lifecycle: facts in {where}", found, "", "> 0", found > 0, note=told))

    # what is seen

    def now(self) -> datetime:
        """Event time up to which all is scored."""
        return self.clock.now or self.history.event_time

    def job(self, name: str) -> None:
        """Run a job and follow it."""
        command = [sys.executable, "-m", "monitor_assets.launch", name, "--namespace", NAMESPACE]
        command += ["--timeout", str(900 * PATIENCE)]
        if subprocess.run(command, env=self.environment, check=False).returncode:
            raise NotReachedError(f"the job {name} failed")

    # timeline

    def note(self, name: str, reason: str, met: bool = True) -> None:
        at = self.now() if hasattr(self, "clock") else (self.history.event_time if hasattr(self, "history") else None)
        reason = reason.replace(f"{self.home}/", "")  # a folder of this run alone
        self.steps.append(Step(name, at, time.monotonic() - self.began, reason, met))
        self.console.print(
            f"{self.steps[-1].wall_seconds:6.0f} s  {at and format(at, '%m-%d %H:%M')}  {name}: {reason}",
            soft_wrap=True,
        )

    def row(self, name: str, value: float, unit: str, note: str = "") -> None:
        """A figure of the run."""
        self.checks.append(Result(f"lifecycle: {name}", value, unit, note=note))

    def between(self, name: str, first: str, then: str) -> None:
        """Wall time from the first step of a name to the last of another, event time in the note."""
        a = next(s for s in self.steps if s.name == first)
        b = next(s for s in reversed(self.steps) if s.name == then)
        days = "" if a.event_time is None or b.event_time is None else f"{b.event_time - a.event_time} of event time; "
        note = f"{days}a second is {SPEED:g} s of event time; {b.reason}"
        self.row(name, b.wall_seconds - a.wall_seconds, "s", note)

    def check(self, name: str, met: bool, note: str = "") -> None:
        self.checks.append(Result(f"lifecycle: {name}", float(met), "", "yes", met, note=note))
        self.console.print(f"          {'✓' if met else '✗'} {name}")

    def require(self, met: object, why: str) -> None:
        if not met:
            raise NotReachedError(why)

    def until(self, done: Callable[[], bool], why: str | Callable[[], str], seconds: float) -> None:
        """Raises NotReachedError where it does not come true in time."""
        if not wait_until(done, seconds * PATIENCE):
            raise NotReachedError(why if isinstance(why, str) else why())


def measure(world: World | None = None, home: Path | None = None) -> list[Result]:
    """Run it on a stack of its own; a result for each step and each check."""
    console = Console(highlight=False, width=200)
    life = Life(home or Path(mkdtemp(prefix="forewarn-lifecycle-")), world or World(), console)
    not_reached = ""
    try:
        life.run()
    except (NotReachedError, KeyboardInterrupt) as error:
        not_reached = str(error) or "ended by hand"
        console.print(f"not reached: {error}")
    _show(life, console)
    lasted = life.steps[-1].wall_seconds if life.steps else 0.0
    whole = Result(
        "lifecycle: drift to roll-back by sensors", lasted, "s", "every step", not not_reached, note=not_reached
    )
    return [*life.checks, whole]


def _show(life: Life, console: Console) -> None:
    table = Table(title="Timeline", title_justify="left")
    for column in ("step", "event time", "wall", "reason"):
        table.add_column(column, overflow="fold")
    for s in life.steps:
        at = f"{s.event_time:%m-%d %H:%M}" if s.event_time else ""
        table.add_row(s.name if s.met else f"{s.name} (not met)", at, f"{s.wall_seconds:.0f} s", s.reason)
    console.print(table)
