"""The embedded stack that faults are done to: started as users start it, on a home of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
from rich.console import Console

from forewarn.cli import up
from forewarn.config.running import ServiceState, StackState, client_settings, running
from forewarn.config.settings import Settings
from forewarn.services.stack import leftovers

DATABASE_BYTES = 3 * 2**30  # of the disk that the database has for itself
READY = {"ready", "done", "skipped"}


@dataclass
class Stack:
    """Its processes by service name. `own_disk`: whether its database has a small disk of its own."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    only: str = ""
    without: str = ""
    own_disk: bool = False
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> float:
        """Start it and wait until it is ready; the seconds that took. Raises CommandError."""
        began = time.monotonic()
        quiet = Console(file=(self.home / "start.log").open("a"), width=160)
        self._process, _ = up.start_in_background(
            quiet, self.home, self.only, self.without, ends_with_parent=True, environment=self.environment
        )
        return time.monotonic() - began

    def stop(self) -> float:
        """Stop it as `forewarn down` does; the seconds that took."""
        began = time.monotonic()
        if self._process is not None:
            up.stop(self._process)
        return time.monotonic() - began

    @property
    def state(self) -> StackState:
        """What its supervisor says. Raises RuntimeError where it is gone."""
        state = running(self.home)
        if state is None:
            raise RuntimeError(f"the stack is gone: see {self.home / 'logs' / 'stack.log'}")
        return state

    @property
    def settings(self) -> Settings:
        """Its addresses."""
        return client_settings(self.home)

    @property
    def url(self) -> str:
        """Of its database; a connection is given up after 3 s."""
        url = self.settings.postgres_url.get_secret_value()
        return psycopg.conninfo.make_conninfo(url, connect_timeout=3, application_name="chaos")

    @property
    def gateway(self) -> str:
        """Address of its gateway."""
        return f"http://127.0.0.1:{self.settings.gateway_port}"

    def service(self, name: str) -> ServiceState:
        """What its supervisor says of a service. Raises KeyError."""
        found = self.state.service(name)
        if found is None:
            raise KeyError(name)
        return found

    def services(self) -> list[str]:
        """Those that run all the time."""
        return [s.name for s in self.state.services if s.pid]

    def processes(self, name: str) -> list[psutil.Process]:
        """All processes of a service, the one that the supervisor started first."""
        pid = self.service(name).pid
        found = leftovers.members(self.state.stack_id, name)
        if pid is not None:  # PostgreSQL's carry no environment that others may read
            with contextlib.suppress(psutil.Error):
                main = psutil.Process(pid)
                found = list({p.pid: p for p in [main, *main.children(recursive=True), *found]}.values())
        return found

    def kill(self, name: str) -> None:
        """SIGKILL to the process that the supervisor started."""
        pid = self.service(name).pid
        if pid is not None:
            psutil.Process(pid).kill()

    @contextlib.contextmanager
    def suspended(self, name: str) -> Iterator[None]:
        """SIGSTOP to all processes of a service, SIGCONT afterwards; what it starts meanwhile, too."""
        stopped = self.processes(name)
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(stopped):
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)

    def all_ready(self) -> bool:
        """Whether its supervisor says so of every service."""
        state = running(self.home)
        return state is not None and all(s.phase in READY for s in state.services)

    def restarts(self) -> int:
        """Of all services together."""
        return sum(s.restarts for s in self.state.services)

    @contextlib.contextmanager
    def beside(self, module: str, **settings: object) -> Iterator["subprocess.Popen[bytes]"]:
        """Another process of a service, which the supervisor knows nothing of; killed at the end if it still runs."""
        own = {f"FOREWARN_{name.upper()}": str(value) for name, value in settings.items()}
        log = (self.home / "logs" / f"beside-{module.rpartition('.')[2]}.log").open("ab")
        process = subprocess.Popen(
            [*_command(module, settings)],
            env={**os.environ, **self.state.environment, **self.environment, **own}, cwd=Path(__file__).parents[2],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _command(module: str, settings: Mapping[str, object]) -> list[str]:
    import sys

    if module != "bentos.predictor":
        return [sys.executable, "-m", module]
    served = ["bentoml", "serve", "bentos.predictor.service:Predictor", "--host", "127.0.0.1"]
    return [sys.executable, "-m", *served, "--port", str(settings["predictor_port"])]


@contextlib.contextmanager
def home(own_disk: bool) -> Iterator[tuple[Path, bool]]:
    """A folder for a stack, and whether its database got a small disk of its own (a tmpfs; only root can mount it)."""
    folder = Path(tempfile.mkdtemp(prefix="forewarn-chaos-"))
    folder.chmod(0o755)
    data = folder / "postgres"
    data.mkdir(mode=0o700)
    options = f"size={DATABASE_BYTES},mode=0700"
    mounted = own_disk and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(data)], capture_output=True, check=False
    ).returncode  # fmt: skip
    try:
        yield folder, mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(data)], check=False)
        if "FOREWARN_CHAOS_KEEP" not in os.environ:
            shutil.rmtree(folder, ignore_errors=True)
