"""The stack of a demo: a child that ends with it, on a home of its own."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from forewarn.cli.failure import CommandError
from forewarn.cli.progress import StartDisplay
from forewarn.config.running import StackState, running
from forewarn.services.stack import launch

_MARKER = "demo"  # a file in the home: this home may be emptied by the next demo
_START_SECONDS = 300.0

# Seconds between samples differ by who sends them, so the windows do, too; the demo is impatient with late samples.
ENVIRONMENT = {
    "FOREWARN_STEP_SECONDS_BY_NAMESPACE": '{"local": 5, "recorded": 1}',
    "FOREWARN_LATENESS_SECONDS": "10",
}


def empty_home(home: Path) -> None:
    """Make the home of a new demo. Raises CommandError where one runs, or where it holds something else."""
    state = running(home)
    if state is not None:
        raise CommandError(
            f"a stack runs on {home} already (pid {state.pid}); stop it with `forewarn down` or use another --home"
        )
    if home.exists() and any(home.iterdir()):
        if not (home / _MARKER).exists():
            raise CommandError(f"{home} holds the data of a stack that is no demo; give the demo another --home")
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / _MARKER).write_text("This folder belongs to `forewarn demo`, which empties it when it starts.\n")


def start(home: Path, console: Console) -> tuple["subprocess.Popen[bytes]", StackState]:
    """Start the stack and wait until it is ready. Raises CommandError with the last lines of its log."""
    log = home / "stack.log"
    command = [sys.executable, "-I", launch.__file__, str(os.getpid())]
    command += [sys.executable, "-m", "forewarn.cli.app", "up"]
    environment = {**ENVIRONMENT, **os.environ, "FOREWARN_HOME": str(home), "COLUMNS": "160", "NO_COLOR": "1"}
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    deadline = time.monotonic() + _START_SECONDS
    with StartDisplay(console) as display:
        while time.monotonic() < deadline and process.poll() is None:
            state = running(home)
            if state is not None and state.pid == process.pid:
                display.show(state)
                if state.phase == "ready":
                    return process, state
            time.sleep(0.2)
    stop(process)
    raise CommandError(f"the stack did not start; the end of {log}:\n{log.read_text(errors='replace')[-2000:]}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop the stack in order; its supervisor ends every child."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
