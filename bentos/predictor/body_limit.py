"""Refuses requests whose body is larger than any question may be, before it is read."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class BodyTooLargeError(Exception):
    """More came than was announced."""


class BodyLimit:
    """ASGI middleware: 413 for a body of more than `limit` bytes, announced or not."""

    def __init__(self, app: App, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        announced = next((int(v) for k, v in scope["headers"] if k == b"content-length" and v.isdigit()), 0)
        if announced > self._limit:
            return await self._refuse(scope, receive, send)
        read, begun = 0, False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise BodyTooLargeError
            return message

        async def told(message: Message) -> None:
            nonlocal begun
            begun = True
            if read <= self._limit:
                await send(message)

        try:
            await self._app(scope, counted, told)
        except BodyTooLargeError:
            begun = True
        if read > self._limit:
            await self._refuse(scope, receive, send)
        return None

    async def _refuse(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        error = f"the body has more than {self._limit:,} bytes: send rows in parts (FOREWARN_PREDICTOR_MAX_ROWS)"
        await JSONResponse({"error": error}, 413, {"connection": "close"})(scope, receive, send)
