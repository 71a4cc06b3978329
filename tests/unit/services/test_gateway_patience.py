"""Connections on which no request comes are closed, and those that wait for an answer are not: a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forewarn.services.gateway.patience import PatientProtocol

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Impatient(PatientProtocol):
    head_seconds = 0.1


class Server:
    """Its one page answers when it is told to."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()
        self.port = 0

    async def page(self, request: Request) -> Response:
        self.asked.set()
        await self.may_answer.wait()
        return PlainTextResponse("here")

    async def silent(self, said: bytes = b"") -> bytes:
        """What comes until the server closes a connection on which only this is said."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(said)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    page = Server()
    listening = asyncio.Event()

    class Uvicorn(uvicorn.Server):
        async def startup(self, sockets: object = None) -> None:
            await super().startup()
            page.port = self.servers[0].sockets[0].getsockname()[1]
            listening.set()

    app = Starlette(routes=[Route("/", page.page, methods=["GET", "POST"])])
    server = Uvicorn(uvicorn.Config(app, port=0, http=Impatient, lifespan="off", log_config=None, access_log=False))
    serving = asyncio.create_task(server._serve())
    await listening.wait()
    try:
        yield page
    finally:
        server.should_exit = True
        await serving


def test_a_connection_without_a_whole_head_is_closed() -> None:
    async def run() -> None:
        async with serving() as page:
            assert await page.silent() == b""
            assert await page.silent(HEAD[:-2]) == b""

    asyncio.run(run())


def test_what_follows_an_answer_must_be_a_request_too() -> None:
    async def run() -> None:
        async with serving() as page:
            page.may_answer.set()
            for rest in (HEAD[:-2], b"\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
                writer.write(HEAD)
                assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
                writer.write(rest)
                assert await reader.read() == b""
                writer.close()

    asyncio.run(run())


def test_who_waits_for_an_answer_is_not_cut_off() -> None:
    async def run() -> None:
        async with serving() as page:
            reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
            writer.write(HEAD)
            await page.asked.wait()
            assert await page.silent() == b""  # so long it has waited
            page.may_answer.set()
            assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(run())
