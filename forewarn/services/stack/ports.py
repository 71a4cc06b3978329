"""Chooses the ports that the stack listens on, and tells who holds one that is taken."""

import socket
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


def choose_ports(requests: list[PortRequest], host: str) -> tuple[dict[str, int], list[str]]:
    """A free port for each request, and a sentence for each that is not the preferred one.

    Raises PortTakenError where an explicit one is taken.
    """
    chosen: dict[str, int] = {}
    notices: list[str] = []
    for request in sorted(requests, key=lambda r: not r.explicit):
        port = request.preferred
        if port in chosen.values() or not is_free(host, port):
            if request.explicit:
                raise PortTakenError(_taken(request, port in chosen.values()))
            port = _free_port(host, set(chosen.values()))
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


def _free_port(host: str, avoid: set[int]) -> int:
    """Below the range that the kernel gives to outgoing connections, so that none of them takes it before we do."""
    start = 20_000 + psutil.Process().pid % 5_000
    return next(port for port in range(start, 32_000) if port not in avoid and is_free(host, port))
