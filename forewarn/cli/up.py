"""`forewarn up` and `forewarn down`."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from forewarn.cli.failure import CommandError
from forewarn.cli.progress import StartDisplay, addresses
from forewarn.config.running import StackState, read_state, running
from forewarn.config.settings import Settings

_PARENT_VARIABLE = "FOREWARN_ENDS_WITH_PARENT"
_DETACHED_START_SECONDS = 900.0


def up(home: Path | None, detach: bool, only: str, without: str, assignments: Sequence[str]) -> None:
    """Start the stack in this process, or in the background; see the command's help."""
    console = Console(highlight=False)
    _follow_parent()
    _apply(assignments, home)
    settings = Settings()
    found = running(settings.home)
    if found is not None:
        raise _runs_already(found)
    if detach:
        start_in_background(console, settings.home, only, without)
    else:
        run_here(console, settings, _names(only), _names(without))


def run_here(console: Console, settings: Settings, only: Sequence[str], without: Sequence[str]) -> None:
    """Run the stack until a signal; show each service as it starts."""
    from forewarn.services.stack.child import StartError
    from forewarn.services.stack.plan import make_plan
    from forewarn.services.stack.ports import PortTakenError
    from forewarn.services.stack.up import AlreadyRunningError, Stack

    display = StartDisplay(console)
    stack = Stack(settings.home, display.show, display.notice)
    try:
        stack.take_home()
        with display:
            stack.run(make_plan(settings, only, without))
    except AlreadyRunningError as error:
        raise _runs_already(error.state) if error.state else CommandError(f"{error}") from None
    except (PortTakenError, ValueError, ConnectionError) as error:
        raise CommandError(str(error)) from error
    except StartError as failed:
        _show_last_words(console, failed)
        advice = failed.service.advice or f"read the whole log with: forewarn logs {failed.service.name}"
        way_out = f"forewarn up --without {failed.service.group or failed.service.name}"
        raise CommandError(
            f"{failed}, all else was stopped: {advice}; log: {failed.log.path}; to go on without it: {way_out}"
        ) from failed
    console.print("[green]Stopped.[/] Data is kept in", escape(str(settings.home.resolve())))


def _show_last_words(console: Console, failed: object) -> None:
    from forewarn.services.stack.child import StartError

    assert isinstance(failed, StartError)
    console.print(f"\n[bold]Last lines of {escape(str(failed.log.path))}[/]")
    for line in failed.last_lines or ["(nothing was logged)"]:
        console.print(f"  {escape(line)}", soft_wrap=True)


def _follow_parent() -> None:
    """Stop in order when the process that started us for itself ends."""
    parent = os.environ.pop(_PARENT_VARIABLE, "")
    if parent:
        from forewarn.services.stack.launch import end_with_parent

        end_with_parent(int(parent))


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _apply(assignments: Sequence[str], home: Path | None) -> None:
    """Settings given as options are variables of this process from here on."""
    for assignment in assignments:
        key, found, value = assignment.partition("=")
        field = key.strip().lower().removeprefix("forewarn_")
        if not found or field not in Settings.model_fields:
            raise CommandError(f"--set {assignment}: expected KEY=VALUE with a KEY of .env.example", status=2)
        os.environ[f"FOREWARN_{field.upper()}"] = value
    if home is not None:
        os.environ["FOREWARN_HOME"] = str(home.resolve())


def _runs_already(state: StackState) -> CommandError:
    where = ", ".join(f"{title} {address}" for title, address in addresses(state))
    return CommandError(
        f"a stack runs on {state.home} already (pid {state.pid}): {where or state.phase}; "
        "see `forewarn status`, stop it with `forewarn down`, or use another --home"
    )


def start_in_background(
    console: Console,
    home: Path,
    only: str = "",
    without: str = "",
    ends_with_parent: bool = False,
    environment: Mapping[str, str] | None = None,
) -> tuple["subprocess.Popen[bytes]", StackState]:
    """Start a stack in another process, show how it starts, and return it when it is ready. Raises CommandError.

    `ends_with_parent`: it stops in order when the thread that calls this ends, however it ends, and when it is not
    ready in time. `environment`: variables beside those of this process, which come first.
    """
    (home / "logs").mkdir(parents=True, exist_ok=True)
    log = home / "logs" / "stack.log"
    options = [part for name, value in (("--only", only), ("--without", without)) if value for part in (name, value)]
    offset = log.stat().st_size if log.exists() else 0
    own = {"FOREWARN_HOME": str(home.resolve()), "COLUMNS": "160", "NO_COLOR": "1"}
    own |= {_PARENT_VARIABLE: str(os.getpid())} if ends_with_parent else {}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "forewarn.cli.app", "up", *options],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={**(environment or {}), **os.environ, **own},
        )  # fmt: skip
    state = _await_ready(console, home, process, detached=not ends_with_parent)
    if state is not None:
        return process, state
    if process.poll() is not None:
        with log.open("rb") as file:
            file.seek(offset)
            console.print(escape(file.read().decode(errors="replace").strip()), soft_wrap=True)
        raise CommandError(f"the stack did not start (status {process.returncode}); log: {log}")
    if ends_with_parent:
        stop(process)
        raise CommandError(f"the stack was not ready after {_DETACHED_START_SECONDS:.0f} s and was stopped: see {log}")
    raise CommandError(f"not ready after {_DETACHED_START_SECONDS:.0f} s, it goes on starting: see {log}")


def _await_ready(console: Console, home: Path, process: "subprocess.Popen[bytes]", detached: bool) -> StackState | None:
    """Show how a stack starts until it is ready; None where it ended or takes too long."""
    deadline = time.monotonic() + _DETACHED_START_SECONDS
    with StartDisplay(console, detached=detached) as display:
        while time.monotonic() < deadline and process.poll() is None:
            state = running(home)
            if state is not None and state.pid == process.pid:
                display.show(state)
                if state.phase == "ready":
                    return state
            time.sleep(0.2)
    return None


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop a stack that this process started; its supervisor ends every child."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def down(home: Path | None, force: bool) -> None:
    """Stop the stack of a home and wait until it is gone."""
    import signal

    console = Console(highlight=False)
    folder = (home or Settings().home).resolve()
    state = running(folder)
    if state is None:
        _end_leftovers(console, folder)
        return
    if force:
        os.kill(state.pid, signal.SIGKILL)
        _end_leftovers(console, folder)
        return
    os.kill(state.pid, signal.SIGTERM)
    _wait_until_gone(console, folder)


def _wait_until_gone(console: Console, folder: Path, patience_seconds: float = 90.0) -> None:
    began = time.monotonic()
    with console.status("Stopping …") as shown:
        while (state := running(folder)) is not None:
            left = [s.name for s in state.services if s.phase not in {"stopped", "skipped", "done", "waiting"}]
            shown.update(f"Stopping: {', '.join(left)}" if left else "Stopping …")
            if time.monotonic() - began > patience_seconds:
                raise CommandError(f"pid {state.pid} still runs after {patience_seconds:.0f} s: forewarn down --force")
            time.sleep(0.1)
    console.print(f"[green]Stopped[/] in {time.monotonic() - began:.1f} s. Data is kept in {folder}")


def _end_leftovers(console: Console, folder: Path) -> None:
    from forewarn.services.stack.leftovers import end_all
    from forewarn.services.stack.state import remove_state

    state = read_state(folder)
    ended = end_all(state.stack_id, {}, 8.0) if state else 0
    remove_state(folder)
    if ended:
        console.print(f"[green]Ended[/] {ended} processes of a stack that was killed.")
    else:
        console.print(f"No stack runs on {folder}.")
