"""A piece of the page whose HTML is patched in place, so that focus, scroll and open menus stay as they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import param
from panel.custom import JSComponent


class Live(JSComponent):  # type: ignore[misc]
    """Shows `html`, which must be escaped already (it comes from autoescaped templates).

    A form with `data-action` in it calls `on_submit(action, fields)` instead of leaving the page.
    """

    html = param.String(default="")
    piece = param.String(default="", doc="Name of the box that the server put into the page, which it goes on with.")
    reader = param.Boolean(default=False, doc="Who looks at it may not answer: forms are hidden.")
    content = param.Boolean(default=True, doc="False for a status line: the page has not been answered by it.")

    _esm = Path(__file__).parent / "live.js"

    def __init__(self, on_submit: Callable[[str, dict[str, str]], None] | None = None, **params: Any) -> None:
        super().__init__(**params)
        self._on_submit = on_submit

    def _handle_msg(self, message: Any) -> None:
        if self._on_submit is None or not isinstance(message, dict):
            return
        fields = message.get("fields")
        clean = {str(k): str(v)[:2000] for k, v in fields.items()} if isinstance(fields, dict) else {}
        self._on_submit(str(message.get("action")), clean)
