"""Asks a service whether it is ready."""

import asyncio
import contextlib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from forewarn.config.doors import door
from forewarn.config.tls import trust_ours
from forewarn.services.stack.definition import Alive, Exits, Http, Marker, Service, Tcp

_INTERVAL_SECONDS = 0.1


@dataclass(frozen=True)
class LogSlice:
    """The log of one start: the file, and where this start's part begins."""

    path: Path
    offset: int

    def text(self) -> str:
        """What was written since the start."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read().decode(errors="replace")
        return ""

    def last_lines(self, count: int) -> list[str]:
        """The last lines that are not empty."""
        return [line for line in self.text().splitlines() if line.strip()][-count:]


async def wait_until_ready(service: Service, host: str, log: LogSlice) -> None:
    """Return once the service is ready; cancel it when time is up or the process has ended."""
    match service.ready:
        case Alive(seconds):
            await asyncio.sleep(seconds)
        case Exits():
            await asyncio.Event().wait()  # its end is what tells
        case Marker(text):
            while text not in await asyncio.to_thread(log.text):
                await asyncio.sleep(_INTERVAL_SECONDS)
        case Tcp():
            while not await _accepts(host, service.port or 0):
                await asyncio.sleep(_INTERVAL_SECONDS)
        case Http(path, certificate):
            url = f"{door('https' if certificate else 'http', host, service.port or 0)}{path}"
            while not await asyncio.to_thread(_answers, url, certificate):
                await asyncio.sleep(_INTERVAL_SECONDS)


async def _accepts(host: str, port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
        return True
    return False


def _answers(url: str, certificate: Path | None) -> bool:
    with contextlib.suppress(OSError, ValueError):
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]  # none must answer for it
        if certificate is not None:  # read anew each time, as the server may have been given another
            handlers.append(urllib.request.HTTPSHandler(context=trust_ours(certificate)))
        with urllib.request.build_opener(*handlers).open(url, timeout=3) as response:
            return bool(response.status < 400)
    return False
