"""Gives each request that comes in by HTTP its trace, and tells the sender its id."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forewarn.services.tracing import request_span, trace_id

REQUEST_ID = "X-Request-Id"


class RequestTrace:
    """ASGI middleware: a span for each POST; its trace id is the response's `X-Request-Id`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, with the span around it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        path = str(scope["path"])
        with request_span(f"POST {path}", Headers(scope=scope), **{"url.path": path}) as span:
            request_id = trace_id()

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if request_id:
                        MutableHeaders(scope=message)[REQUEST_ID] = request_id
                await send(message)

            await self._app(scope, receive, answer)
