"""The page behind the links in alerts: it shows what is asked with a button, and only the button answers.

Mail scanners and link previews fetch every link; therefore a GET never changes anything.
"""

import html
from functools import cached_property
from typing import Any

import psycopg
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from forewarn.alerting.links import AnswerLink, LinkError, LinkSigner
from forewarn.alerting.picture import draw_forecast
from forewarn.config.settings import Settings
from forewarn.incidents.records import Incident
from forewarn.services.gateway.answer_records import answer_database, find, record
from forewarn.services.gateway.answers import Refused
from forewarn.services.gateway.body import read_small_body
from forewarn.stores.feedback import PostgresFeedback
from forewarn.stores.incidents import PostgresIncidents

MAX_FORM_BYTES = 8192
_HEADERS = {
    "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex",
    "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
}  # fmt: skip
_ASKS = {
    "confirmed": ("Confirm", "Yes, this is a real problem", "Confirmed"),
    "dismissed": ("False alarm", "No, this is a false alarm: close it", "Dismissed as a false alarm"),
    "acknowledged": ("Acknowledge", "I have seen it: tell nobody else", "Acknowledged"),
    "averted": ("I acted", "I have done something about it", "Noted that somebody acted"),
}


class AnswerDoor:
    """`/answer/{token}` and `/forecast/{token}.png`."""

    def __init__(self, settings: Settings) -> None:
        self._url = answer_database(settings)
        self._settings = settings
        self._dashboard = settings.public_url.rstrip("/")

    def routes(self) -> list[Route]:
        """For an application of Starlette."""
        return [
            Route("/answer/{token}", self._answer, methods=["GET", "POST"]),
            Route("/forecast/{token}.png", self._picture, methods=["GET"]),
        ]

    @cached_property
    def _signer(self) -> LinkSigner:
        """Made when the first link comes in: a gateway that nobody answers over needs no key."""
        try:
            return LinkSigner.of(self._settings)
        except OSError as error:
            raise LinkError(f"the gateway has no key to read it with ({error}): set FOREWARN_LINK_KEY") from error

    async def _answer(self, request: Request) -> Response:
        try:
            link = self._signer.read_answer(request.path_params["token"])
            if request.method != "POST":
                return await run_in_threadpool(self._ask, link)
            author, note = await _form(request)
            return await run_in_threadpool(self._record, link, author, note)
        except LinkError as error:
            return _page("This link cannot be used", f"<p>{html.escape(str(error))}.</p>", 403)
        except Refused as refusal:
            text = f"<p>Nothing was recorded: {html.escape(refusal.reason)}.</p>"
            return _page("This was not taken", text, refusal.status)
        except psycopg.Error:
            text = "<p>Forewarn's database does not answer. Nothing was recorded; try again in a minute.</p>"
            return _page("Not now", text, 503)

    def _ask(self, link: AnswerLink) -> Response:
        with psycopg.connect(self._url) as connection:
            incident = find(connection, link.incident_id)
            said = PostgresFeedback(connection).latest([incident.incident_id]) if incident is not None else {}
        if incident is None:
            return _page("This incident is not known", "<p>It may have been deleted.</p>", 404)
        title, sentence, _ = _ASKS[link.verdict]
        last = said.get(incident.incident_id)
        before = f"<p class=said>Already {_safe(last.verdict)} by {_safe(last.author)}.</p>" if last else ""
        form = (
            f"<p>{html.escape(sentence)}?</p>{before}<form method=post>"
            '<label>Your name <input name=author maxlength=80 autocomplete=name></label>'
            '<label>Note (optional) <input name=note maxlength=500></label>'
            f"<button>{html.escape(title)}</button></form>"
        )  # fmt: skip
        return _page(title, self._facts(incident) + form)

    def _record(self, link: AnswerLink, author: str, note: str) -> Response:
        who = f"{author or 'a reader'} (by link, {link.channel})"  # a name that anybody may type is no proof
        with psycopg.connect(self._url) as connection:
            incident, new = record(connection, link.incident_id, link.answer_id, link.verdict, who, note)
        if incident is None:
            return _page("This incident is not known", "<p>Nothing was recorded.</p>", 404)
        done = _ASKS[link.verdict][2]
        text = f"<p>{html.escape(done)}.</p>" if new else "<p>This link was used before; its answer holds.</p>"
        return _page("Thank you", self._facts(incident) + text)

    def _facts(self, incident: Incident) -> str:
        url = f"{self._dashboard}/risk?incident={incident.incident_id}"
        link = f'<a href="{html.escape(url)}">Open in Forewarn</a>'
        return f"<h2>{_safe(incident.title)}</h2><p>{_safe(incident.summary)}</p><p>{link}</p>"

    async def _picture(self, request: Request) -> Response:
        try:
            incident_id, version = self._signer.read_picture(request.path_params["token"])
            png = await run_in_threadpool(self._draw, incident_id, version)
        except LinkError as error:
            return Response(str(error), 403, _HEADERS)
        except psycopg.Error:
            return Response("the database does not answer", 503, _HEADERS)
        if png is None:
            return Response("there is no picture", 404, _HEADERS)
        return Response(png, 200, {**_HEADERS, "Cache-Control": "private, max-age=86400"}, "image/png")

    def _draw(self, incident_id: str, version: int) -> bytes | None:
        from forewarn.stores.ledger import PostgresLedger

        with psycopg.connect(self._url) as connection:
            incident = PostgresIncidents(connection).get(incident_id, version)
            episodes = PostgresLedger(connection).episodes(incident.episodes[:1]) if incident is not None else []
        risk = episodes[0].risk if episodes else None
        return draw_forecast(risk) if risk is not None else None


async def _form(request: Request) -> tuple[str, str]:
    """Author and note, as far as they were given. Raises Refused."""
    from urllib.parse import parse_qs

    body = await read_small_body(request, MAX_FORM_BYTES)
    fields = parse_qs(body.decode("utf-8", "replace"))
    return _clean(fields, "author", 80), _clean(fields, "note", 500)


def _clean(fields: dict[str, list[str]], name: str, limit: int) -> str:
    text = "".join(c if c.isprintable() else " " for c in fields.get(name, [""])[0])
    return " ".join(text.split())[:limit]


def _safe(text: Any) -> str:
    from forewarn.alerting.wording import one_line

    return html.escape(one_line(str(text), 1000))


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem}"
        ":root{color-scheme:light dark}"
        "h1{font-size:1.4rem}h2{font-size:1.1rem}label{display:block;margin:.6rem 0}input{display:block;width:100%;"
        "font:inherit;padding:.4rem;box-sizing:border-box}button{font:inherit;padding:.6rem 1.4rem;margin-top:.8rem}"
        ".said{font-weight:600}"
    )
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)} · Forewarn</title><style>{style}</style></head>"
        f"<body><main><h1>{html.escape(title)}</h1>{body}</main></body></html>"
    )
    return HTMLResponse(page, status, _HEADERS)
