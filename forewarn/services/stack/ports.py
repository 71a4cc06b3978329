"""Chooses the ports that the stack listens on, and tells who holds one that is taken."""

import errno
import socket
import sys
from dataclasses import dataclass

import psutil


class PortTakenError(Exception):
    """A port that was asked for by name cannot be had."""


@dataclass(frozen=True)
class PortRequest:
    """A port that a service prefers. `explicit`: the user named it, so no other will do."""

    name: str
    preferred: int
    explicit: bool = False
    variable: str = ""


class Reservations:
    """Ports that this process has chosen and its services do not listen on yet: no other stack chooses them.

    A service may come up a minute after its port was chosen, and gRPC shares a port without a word (SO_REUSEPORT): two
    stacks that start at a time would then answer each other's questions. Each reservation is a name that the kernel
    gives once in a network namespace and takes back when the process ends, however it ends (Linux only).
    """

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def take(self, port: int) -> bool:
        """Whether it is ours now; False where it is reserved already, by us or by another."""
        if sys.platform != "linux":
            return True
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0forewarn-port-{port}")
        except OSError as error:
            name.close()
            return error.errno != errno.EADDRINUSE  # a sandbox without such names has no other stack either
        self._held[port] = name
        return True

    def give_back(self, port: int) -> None:
        """Let others choose it."""
        held = self._held.pop(port, None)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Give all of them back."""
        for port in list(self._held):
            self.give_back(port)

    def __del__(self) -> None:
        self.close()


def is_free(host: str, port: int) -> bool:
    """Can this port be listened on now?"""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def who_listens(port: int) -> str:
    """'postgres (pid 12)', or 'another process' where the system does not tell."""
    try:
        listening = (c for c in psutil.net_connections("tcp") if c.status == "LISTEN")
        owners = [c.pid for c in listening if getattr(c.laddr, "port", None) == port]
        process = psutil.Process(next(pid for pid in owners if pid))
        return f"{process.name()} (pid {process.pid})"
    except (psutil.Error, StopIteration, OSError):
        return "another process"


def choose_ports(
    requests: list[PortRequest], host: str, reservations: Reservations | None = None
) -> tuple[dict[str, int], list[str]]:
    """A free port for each request, and a sentence for each that is not the preferred one.

    reservations: keeps them from other stacks for as long as it is held, beyond this call.
    Raises PortTakenError where an explicit one is taken.
    """
    reservations = reservations or Reservations()
    chosen: dict[str, int] = {}
    notices: list[str] = []
    for request in sorted(requests, key=lambda r: not r.explicit):
        port = request.preferred
        if port in chosen.values() or not _take(host, port, reservations):
            if request.explicit:
                raise PortTakenError(_taken(request, port in chosen.values()))
            port = _free_port(host, reservations)
            notices.append(
                f"{request.name}: port {request.preferred} is taken by {who_listens(request.preferred)}, using {port}"
            )
        chosen[request.name] = port
    return chosen, notices


def _taken(request: PortRequest, twice: bool) -> str:
    holder = "two services" if twice else who_listens(request.preferred)
    verb = "was asked for by" if twice else "is taken by"
    return (
        f"port {request.preferred} of {request.name} {verb} {holder}: stop it, or set {request.variable} to another "
        "port (unset, a free one is chosen)"
    )


def _take(host: str, port: int, reservations: Reservations) -> bool:
    """Reserve first: between a look and a reservation another stack could come."""
    if not reservations.take(port):
        return False
    if is_free(host, port):
        return True
    reservations.give_back(port)
    return False


def _free_port(host: str, reservations: Reservations) -> int:
    """Below the range that the kernel gives to outgoing connections, so that none of them takes it before we do."""
    start = 20_000 + psutil.Process().pid % 5_000
    return next(port for port in range(start, 32_000) if _take(host, port, reservations))
