"""Runs a stack of tiny processes, in this process's place: `python fake_stack.py HOME NAME…`."""

import sys
from pathlib import Path

from forewarn.config.settings import Settings
from forewarn.services.stack.child import StartError
from forewarn.services.stack.definition import Alive, Exits, Marker, Ready, Service
from forewarn.services.stack.plan import Plan
from forewarn.services.stack.up import AlreadyRunningError, Stack

NOTE = "import os,signal,sys,time; print('up', flush=True); journal=open(sys.argv[1],'a',buffering=1); "
POLITE = (
    NOTE + "signal.signal(signal.SIGTERM, lambda *_: (journal.write(f'stop {sys.argv[2]}\\n'), sys.exit(0))); "
    "journal.write(f'start {sys.argv[2]} {os.getpid()}\\n'); time.sleep(60)"
)
STUBBORN = NOTE + "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
# a grandchild in a session of its own, which neither a signal to the group nor the parent's end reaches
PARENT = NOTE + (
    "import subprocess; child=subprocess.Popen(['setsid', sys.executable, '-c', "
    "'import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)']); "
    "journal.write(f'grandchild {child.pid}\\n'); time.sleep(60)"
)
CRASHING = NOTE + "journal.write('start crashing\\n'); time.sleep(0.4); sys.exit(3)"
HUNGRY = NOTE + "time.sleep(1); food=bytearray(b'x'*80_000_000); time.sleep(60)"
FEEDING = POLITE.replace("time.sleep(60)", "time.sleep(1); food=bytearray(b'x'*80_000_000); time.sleep(60)")
BROKEN = "print('cannot read the flux capacitor'); raise SystemExit(4)"
SILENT = "import time; print('thinking', flush=True); time.sleep(60)"


UP = Marker("up")


def service(name: str, code: str, ready: Ready = UP, **changes: object) -> Service:
    """A service that runs a line of Python."""
    command = ("{python}", "-c", "{" + name + "}", "{journal}", name)
    chosen: dict[str, object] = {"start_timeout_seconds": 5.0, "stop_timeout_seconds": 2.0} | changes
    return Service(name, name.capitalize(), command, ready, **chosen)  # type: ignore[arg-type]


TABLE = {
    s.name: (s, code)
    for s, code in (
        (service("base", POLITE), POLITE),
        (service("step", "pass", Exits(), depends_on=("base",), restart_with=("base",)), "pass"),
        (service("upper", POLITE, depends_on=("step",), restart_with=("base",)), POLITE),
        (service("beside", POLITE), POLITE),
        (service("parent", PARENT, stop_timeout_seconds=0.5), PARENT),
        (service("stubborn", STUBBORN, stop_timeout_seconds=0.5), STUBBORN),
        (service("crashing", CRASHING, Alive(0.1)), CRASHING),
        (service("hungry", HUNGRY, memory_limit_bytes=60_000_000, loss="its food is gone"), HUNGRY),
        (service("feeder", FEEDING, memory_limit_bytes=60_000_000), FEEDING),
        (service("writer", POLITE, restart_with=("feeder",)), POLITE),
        (service("reader", POLITE, restart_with=("feeder",), stops_after=("writer",)), POLITE),
        (service("broken", BROKEN), BROKEN),
        (service("silent", SILENT, start_timeout_seconds=1.0), SILENT),
    )
}


def main() -> None:
    """Run until a signal; what is told goes to standard output, an error ends it with status 1."""
    home, names = Path(sys.argv[1]).resolve(), sys.argv[2:]
    stack = Stack(home, lambda state: None, lambda text: print("note:", text, flush=True), patience_seconds=1)
    import os

    values: dict[str, object] = {name: code for name, (_, code) in TABLE.items()}
    values |= {"python": sys.executable, "journal": home / "journal"}
    services = tuple(TABLE[name][0] for name in names)
    try:
        stack.take_home()
        stack.run(Plan(Settings(home=home), services, (), values, dict(os.environ), home, ()))
    except StartError as error:
        sys.exit(f"{error} | {error.last_lines}")
    except AlreadyRunningError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
