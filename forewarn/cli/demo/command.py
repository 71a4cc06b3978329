"""`forewarn demo`: starts the stack, feeds it, trains, predicts, and shows what became of the predictions."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from forewarn.cli.demo import stack, summary
from forewarn.cli.demo.facts import Facts
from forewarn.cli.demo.verdict import TrueFailure, checks
from forewarn.cli.demo.watch import Watch
from forewarn.cli.failure import CommandError
from forewarn.cli.gateway import gateway_of
from forewarn.cli.up import stop
from forewarn.config.doors import door
from forewarn.config.running import StackState, client_settings
from forewarn.config.settings import Settings

if TYPE_CHECKING:
    from forewarn.simulation.recording import Recording
    from forewarn.simulation.simulate import Plan

NAMESPACE = "shop"
_STEP_SECONDS = 60.0
_QUIET_SECONDS = 60.0  # patience for the last messages to pass through
_REPLAY_SPEED = "8"
_MORNING = 6.0  # o'clock in the shop when the live day begins, at whatever time of day somebody runs this


class Demo:
    """The stages of one demo, each timed."""

    def __init__(self, console: Console, home: Path, plan: "Plan", speed: float) -> None:
        self.console, self.home, self.plan, self.speed = console, home, plan, speed
        self.seconds: list[tuple[str, float]] = []
        self.recording: Recording | None = None
        self.replay: subprocess.Popen[bytes] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._state: StackState | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say what begins, and keep how long it took."""
        self.console.rule(f"[bold]{len(self.seconds) + 1}  {name}", align="left")
        began = time.monotonic()
        yield
        self.seconds.append((name, time.monotonic() - began))

    def run(self) -> int:
        """All stages; the exit status."""
        stack.empty_home(self.home)
        with self.stage("Start the stack"):
            self.process, self._state = stack.start(self.home, self.console)
        settings = client_settings(self.home)
        url = settings.postgres_url.get_secret_value()
        self._feed_history()
        self._train()
        self._await_champion(settings, url)
        with Watch(self.console, url, NAMESPACE):
            self._live_day(url)
        return self._sum_up(url)

    def keep_running(self) -> None:
        """Show where everything is, and wait for Ctrl-C."""
        from forewarn.cli.progress import addresses

        self.console.rule("[bold]It keeps running", align="left")
        assert self._state is not None
        assert self.process is not None
        for title, address in addresses(self._state):
            self.console.print(f"  {title:<38} {address}")
        self.console.print("\nLook around; [bold]forewarn status[/] in another terminal. Ctrl-C stops everything.")
        self.process.wait()

    def finish(self) -> None:
        """Stop what was started."""
        if self.replay is not None and self.replay.poll() is None:
            self.replay.terminate()
        if self.process is not None:
            self.console.print("Stopping …")
            stop(self.process)

    def _feed_history(self) -> None:
        with self.stage(f"Send {self.plan.history_days:.0f} days of the shop's history through the gateway"):
            self.recording = self.plan.record()
            offset = self.plan.utc_offset_hours
            zone = f"UTC{'-' if offset < 0 else '+'}{int(abs(offset))}:{int(abs(offset) % 1 * 60):02d}"
            self.console.print(
                f"The shop stands where the live day begins in the morning ({zone}); times below are UTC."
            )
            live_ns = int(self.plan.live_from.timestamp() * 1e9)
            self._send(speed=None, begin_ns=None, end_ns=live_ns, text="history")
            self._start_replay()

    def _send(self, *, speed: float | None, begin_ns: int | None, end_ns: int | None, text: str) -> None:
        from forewarn.simulation import sender as sending
        from forewarn.telemetry.sender import OtlpSender

        recording = self.recording
        assert recording is not None
        live = speed is not None
        chunk = sending.live_chunk_seconds(speed, _STEP_SECONDS) if live else sending.HISTORY_CHUNK_SECONDS
        first = int(recording.times_ns[0]) if begin_ns is None else begin_ns
        last = int(recording.times_ns[-1]) if end_ns is None else end_ns
        gateway = gateway_of(home=self.home)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[where]}"),
            TimeElapsedColumn(),
        )
        with (
            OtlpSender(gateway.url, gateway.token, trust=gateway.trust) as sender,
            Progress(*columns, console=self.console) as bar,
        ):
            task = bar.add_task(text, total=last - first, where="")

            def moved(sent: sending.Sent) -> None:
                for happening in sent.new if live else ():
                    bar.console.print(f"  [dim]{sent.event_time:%H:%M}  in the shop: {happening.text}[/]")
                done = int(sent.event_time.timestamp() * 1e9) - first
                bar.update(task, completed=done, where=f"{sent.event_time:%a %H:%M}  {sent.samples:,} samples")

            sending.send(
                recording, sender, speed=speed, chunk_seconds=chunk,
                trace_seconds=_STEP_SECONDS if live else sending.HISTORY_TRACE_SECONDS,
                begin_ns=begin_ns, end_ns=end_ns, on_sent=moved, stop=threading.Event(),
            )  # fmt: skip

    def _start_replay(self) -> None:
        """A recording of real processes beside the simulated shop, where one is at hand."""
        data = os.environ.get("FOREWARN_DATA")
        runs = sorted(Path(data).glob("realruns/*/telemetry.parquet")) if data else []
        if not runs:
            self.console.print("[dim]No recorded run at hand (FOREWARN_DATA is not set): nothing is replayed.[/]")
            return
        run = runs[0].parent
        log = (self.home / "logs" / "replay.log").open("wb")
        command = [sys.executable, "-m", "forewarn.cli.app", "replay", str(run), "--namespace", "recorded"]
        self.replay = subprocess.Popen(
            [*command, "--speed", _REPLAY_SPEED],
            env={**os.environ, "FOREWARN_HOME": str(self.home)}, stdout=log, stderr=log,
        )  # fmt: skip
        self.console.print(
            f"Beside it, {run.name} is replayed at {_REPLAY_SPEED} times its speed: real processes, run to failure."
        )

    def _train(self) -> None:
        with self.stage("Train on that history: Dagster runs telemetry → features → models → evaluation → promotion"):
            environment = {
                **os.environ,
                **(self._state.environment if self._state else {}),
                "FOREWARN_HOME": str(self.home),
            }
            command = [sys.executable, "-m", "monitor_assets.launch", "train", "--namespace", NAMESPACE]
            if subprocess.run(command, env=environment, check=False).returncode:
                raise CommandError("the training run failed; see it in Dagster, or: forewarn logs dagster-daemon")

    def _await_champion(self, settings: Settings, url: str) -> None:
        facts = Facts(url, NAMESPACE)
        champion, withheld = facts.champion(), facts.withheld()
        facts.close()
        if champion is None:
            self.console.print(
                f"[yellow]The trained model was not promoted:[/] {withheld}. The first-day model goes on serving: "
                "what does not beat the simple does not serve.",
                soft_wrap=True,
            )
            return

        def taken_up() -> bool:
            address = door("http", settings.bind_host, settings.predictor_port)
            answer = httpx.post(f"{address}/status", json={}, timeout=5)
            return bool(answer.json()["model_version"] == champion)

        _wait(taken_up, f"the predictor did not take up model {champion}")
        self.console.print(f"The predictor serves model [bold]{champion}[/].")

    def _live_day(self, url: str) -> None:
        with self.stage(f"A live day at {self.speed:.0f} times real time: {self.plan.scenario}"):
            live_ns = int(self.plan.live_from.timestamp() * 1e9)
            self._send(speed=self.speed, begin_ns=live_ns, end_ns=None, text="live day")
            facts = Facts(url, NAMESPACE)
            assert self.recording is not None
            end = datetime.fromtimestamp(int(self.recording.times_ns[-1]) / 1e9, UTC) - timedelta(minutes=3)
            _wait(lambda: (facts.clock() or end - timedelta(days=1)) >= end, "the end of the day was not scored")
            time.sleep(3)  # the last messages are on their way
            facts.close()

    def _sum_up(self, url: str) -> int:
        assert self.recording is not None
        self.console.rule("[bold]What became of it", align="left")
        facts = Facts(url, NAMESPACE)
        told, live = facts.told(), self.plan.live_from
        onsets = [self.recording.time_of(o.injection.onset_seconds) for o in self.recording.outcomes]
        truth = [
            TrueFailure(f.entity, f.signal, f.begin, f.end, max(at for at in onsets if at <= f.begin))
            for f in self.recording.failures()
            if f.begin >= live
        ]
        found = checks(truth, told, facts.failures(), facts.paged(), facts.warnings())
        summary.print_predictions(self.console, told)
        mails = len(list((self.home / "mail").glob("*.eml")))
        self.console.print(f"E-mails in {self.home / 'mail'}: {mails}")
        sending = next((s for name, s in self.seconds if "history" in name), 0.0)
        summary.print_times(self.console, self.seconds, facts.samples(), sending)
        summary.print_checks(self.console, found)
        facts.close()
        return 0 if all(check.kept for check in found) else 1


def _wait(done: Callable[[], bool], what: str, seconds: float = _QUIET_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if done():
                return
        except (httpx.HTTPError, KeyError):
            pass
        if time.monotonic() > deadline:
            raise CommandError(f"{what} within {seconds:.0f} s; see `forewarn status` and `forewarn logs predictor`")
        time.sleep(0.3)


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End by itself: status 0 only if it showed what it promises.")
    ] = False,
    scenario: Annotated[
        str, typer.Option(metavar="NAME", help="What fails in the live day; see forewarn simulate --list.")
    ] = "pool-exhaustion",
    speed: Annotated[float, typer.Option(min=1, max=5000, metavar="X", help="Event seconds a second, live.")] = 600.0,
    history_days: Annotated[float, typer.Option(min=7, max=60, metavar="DAYS", help="History to learn from.")] = 14.0,
    hours: Annotated[float, typer.Option(min=10, max=48, metavar="HOURS", help="Length of the live day.")] = 14.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another shop and another failure.")] = 7,
    end: Annotated[
        datetime | None,
        typer.Option(help="Event time (UTC) at which the day ends.", show_default="now", formats=["%Y-%m-%dT%H:%M:%S"]),
    ] = None,
    home: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of all state.", show_default="FOREWARN_HOME or .forewarn")
    ] = None,
) -> None:
    """Show the whole of it in a few minutes: start, feed, train, predict, resolve.

    Starts the embedded stack, sends two weeks of a shop's telemetry through the gateway, trains on them in Dagster,
    then lets a day pass quickly in which something fails: you see it told ahead, with reasons and advice, and the
    prediction resolved when it comes. This host and the stack itself are watched, too. Afterwards everything keeps
    running until Ctrl-C. The home is emptied at the start of each demo.
    """
    from forewarn.simulation.scenarios import NONE, SCENARIOS
    from forewarn.simulation.simulate import Plan

    if scenario not in (NONE, *SCENARIOS):
        raise CommandError(f"--scenario {scenario}: not known; see `forewarn simulate --list`", status=2)
    folder = (home or Settings().home).resolve()
    os.environ["FOREWARN_HOME"] = str(folder)
    until = end.replace(tzinfo=UTC) if end else datetime.fromtimestamp(time.time() // 60 * 60, UTC)
    console = Console(highlight=False)
    plan = Plan(until, history_days, hours, scenario, seed, _STEP_SECONDS, NAMESPACE).placed(_MORNING)
    show = Demo(console, folder, plan, speed)
    try:
        status = show.run()
        if not once:
            show.keep_running()
    except KeyboardInterrupt:
        console.print()
        status = 130 if once else 0
    finally:
        show.finish()
    raise typer.Exit(status)
