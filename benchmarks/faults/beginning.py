"""Services that start while the database is down: they wait, say so, and go on once it is there."""

import contextlib
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

import psycopg

from benchmarks.faults.scene import NotRecovered, Report, Scene
from benchmarks.streaming.broker import free_port

MODULES = ("archiver", "connector", "alerter", "gateway")
_SAYS = re.compile(r"PostgreSQL|connection (failed|refused)", re.IGNORECASE)
_PATIENCE_SECONDS = 60.0


def without_database(scene: Scene, report: Report) -> None:
    """Start them beside the others with an address at which nobody listens yet; then the database is there."""
    real = psycopg.conninfo.conninfo_to_dict(scene.stack.settings.postgres_url.get_secret_value())
    port = free_port()
    url = psycopg.conninfo.make_conninfo("", **{**real, "port": port})
    with contextlib.ExitStack() as stack:
        begun = {}
        for name in MODULES:
            own = {"gateway_port": free_port(), "gateway_grpc_port": 0} if name == "gateway" else {}
            log = scene.stack.home / "logs" / f"beside-{name}.log"
            begun[name] = log, log.stat().st_size if log.exists() else 0
            module = f"forewarn.services.{name}"
            begun[name] += (stack.enter_context(scene.stack.beside(module, postgres_url=url, metrics_port=0, **own)),)  # type: ignore[arg-type]
        said = _await_words(begun)
        time.sleep(scene.hold_seconds / 12)
        ended = [name for name, (_, _, process) in begun.items() if process.poll() is not None]
        if ended:
            raise NotRecovered(f"ended instead of waiting: {', '.join(ended)}")
        report.ended = time.monotonic()
        stack.enter_context(_relay(port, str(real["host"]), int(str(real["port"]))))
        _await_alive(scene, {process.pid for _, _, process in begun.values()})
    report.told = f"{', '.join(MODULES)} waited and said so ({said:.1f} s after their start), then went on"


def _await_words(begun: "dict[str, tuple[Path, int, subprocess.Popen[bytes]]]") -> float:
    began = time.monotonic()
    silent = set(begun)
    while silent:
        for name in list(silent):
            log, offset, _ = begun[name]
            if log.exists() and _SAYS.search(log.read_bytes()[offset:].decode(errors="replace")):
                silent.discard(name)
        if time.monotonic() - began > _PATIENCE_SECONDS:
            raise NotRecovered(f"do not say that they wait for the database: {', '.join(sorted(silent))}")
        time.sleep(0.1)
    return time.monotonic() - began


def _await_alive(scene: Scene, pids: set[int]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with psycopg.connect(scene.stack.url) as connection:
            rows = connection.execute(
                b"select pid from service_status where seen_at > now() - interval '5 s'"
            ).fetchall()
        missing = pids - {pid for (pid,) in rows}
        if not missing:
            return
        if time.monotonic() > deadline:
            raise NotRecovered(f"{len(missing)} of {len(pids)} did not go on when the database was there")
        time.sleep(0.2)


@contextlib.contextmanager
def _relay(port: int, host: str, to: int):  # type: ignore[no-untyped-def]
    """What comes to a port goes to another."""
    listener = socket.create_server(("127.0.0.1", port))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((host, to))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        listener.close()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
    for each in (one, other):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
