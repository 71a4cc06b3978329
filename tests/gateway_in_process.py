"""A gateway in the process of the test, with a broker that takes everything."""

import asyncio
from collections.abc import Mapping, Sequence

import httpx

from forewarn.config.settings import Settings
from forewarn.services.gateway.app import Gateway
from forewarn.services.gateway.delivery import Outgoing
from forewarn.services.gateway.meters import Meters


class Broker:
    """Takes everything."""

    def __init__(self) -> None:
        self.taken: list[Outgoing] = []

    async def send(self, messages: Sequence[Outgoing]) -> None:
        self.taken += messages


def post(
    path: str, body: bytes, headers: Mapping[str, str], broker: Broker, meters: Meters | None = None, **settings: object
) -> httpx.Response:
    """The answer of a door. settings: others than the defaults."""
    chosen = Settings(_env_file=None, gateway_grpc_port=0, **settings)  # type: ignore[arg-type]
    gateway = Gateway(chosen, broker, meters or Meters())  # type: ignore[arg-type]

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(gateway.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.post(path, content=body, headers=dict(headers))

    return asyncio.run(send())
