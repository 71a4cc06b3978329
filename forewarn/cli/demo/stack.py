"""The stack of a demo: a child that ends with it, on a home of its own."""

import shutil
import subprocess
from pathlib import Path

from rich.console import Console

from forewarn.cli.failure import CommandError
from forewarn.cli.up import start_in_background
from forewarn.config.running import StackState, running

_MARKER = "demo"  # a file in the home: this home may be emptied by the next demo

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
    """Start the stack and wait until it is ready; it ends with this process. Raises CommandError."""
    return start_in_background(console, home, ends_with_parent=True, environment=ENVIRONMENT)
