"""The OpenAPI page at `/`: BentoML's, without the tracking that it has for its makers."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.responses import HTMLResponse

_TRACKING = re.compile(r"<!-- Google Tag Manager.*?<!-- End Google Tag Manager[^>]*-->", re.DOTALL)

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


@cache
def page() -> str:
    """The page's text."""
    text = (files("_bentoml_impl.server") / "main-openapi.html").read_text("utf-8")
    return _TRACKING.sub("", text).replace("BentoML Prediction Service", "Forewarn predictor")


class IndexPage:
    """ASGI middleware that answers GET / and leaves everything else alone."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """See ASGI."""
        ours = scope["type"] == "http" and scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
        await (HTMLResponse(page()) if ours else self._app)(scope, receive, send)
