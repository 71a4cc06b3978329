"""Servers that stand for Slack, PagerDuty and a webhook: they check what they get against the published schemas."""

import contextlib
import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
from servers import free_port

_TEXT = {"type": "string", "minLength": 1}


def _text(kind: str, longest: int) -> dict[str, Any]:
    properties = {"type": {"const": kind}, "text": {**_TEXT, "maxLength": longest}, "emoji": {"type": "boolean"}}
    return {"type": "object", "properties": properties, "required": ["type", "text"], "additionalProperties": False}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_BUTTON = _object(
    ["type", "text", "action_id"],
    type={"const": "button"}, text=_text("plain_text", 75),
    url={"type": "string", "pattern": "^https?://", "maxLength": 3000}, value={**_TEXT, "maxLength": 2000},
    action_id={**_TEXT, "maxLength": 255}, style={"enum": ["primary", "danger"]},
    confirm=_object(
        ["title", "text", "confirm", "deny"],
        title=_text("plain_text", 100), text=_text("plain_text", 300), confirm=_text("plain_text", 30),
        deny=_text("plain_text", 30), style={"enum": ["primary", "danger"]},
    ),
)  # fmt: skip
_SECTION = {
    **_object(
        ["type"],
        type={"const": "section"}, text=_text("mrkdwn", 3000),
        fields={"type": "array", "items": _text("mrkdwn", 2000), "minItems": 1, "maxItems": 10},
    ),
    "anyOf": [{"required": ["text"]}, {"required": ["fields"]}],
}  # fmt: skip
BLOCKS = {  # docs.slack.dev/reference/block-kit: the blocks that we use, with their limits
    "type": "array",
    "minItems": 1,
    "maxItems": 50,
    "items": {
        "oneOf": [
            _object(["type", "text"], type={"const": "header"}, text=_text("plain_text", 150)),
            _SECTION,
            _object(
                ["type", "image_url", "alt_text"],
                type={"const": "image"}, image_url={"type": "string", "pattern": "^https://", "maxLength": 3000},
                alt_text={**_TEXT, "maxLength": 2000},
            ),
            _object(
                ["type", "elements"],
                type={"const": "context"},
                elements={"type": "array", "items": _text("mrkdwn", 3000), "minItems": 1, "maxItems": 10},
            ),
            _object(
                ["type", "elements"],
                type={"const": "actions"}, elements={"type": "array", "items": _BUTTON, "minItems": 1, "maxItems": 25},
            ),
        ]
    },
}  # fmt: skip
_LINK = _object(["href"], href={"type": "string", "pattern": "^https?://"}, text={"type": "string"})
_IMAGE = _object(
    ["src"], src={"type": "string", "pattern": "^https://"}, href={"type": "string"}, alt={"type": "string"}
)
EVENT = {  # developer.pagerduty.com/docs/send-alert-event
    **_object(
        ["routing_key", "event_action"],
        routing_key={"type": "string", "minLength": 32, "maxLength": 32},
        event_action={"enum": ["trigger", "acknowledge", "resolve"]},
        dedup_key={**_TEXT, "maxLength": 255},
        payload=_object(
            ["summary", "source", "severity"],
            summary={**_TEXT, "maxLength": 1024}, source=_TEXT,
            severity={"enum": ["critical", "error", "warning", "info"]},
            timestamp={"type": "string", "format": "date-time"}, component=_TEXT, group=_TEXT,
            custom_details={"type": "object"}, **{"class": _TEXT},
        ),
        links={"type": "array", "items": _LINK}, images={"type": "array", "items": _IMAGE},
        client={"type": "string"}, client_url={"type": "string", "pattern": "^https?://"},
    ),
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = tuple[int, bytes, dict[str, str]]


@dataclass
class Receiver:
    """A server on a port of its own. errors: what did not fit a schema. refuse: answered instead while it is set.

    on_request: called after a request was taken, before it is answered.
    """

    port: int = field(default_factory=free_port)
    requests: list[Request] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    refuse: Answer | None = None
    on_request: Callable[[Request], None] = lambda request: None
    certificate: Path | None = None

    def __post_init__(self) -> None: ...

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def answer(self, request: Request) -> Answer:
        """What a webhook says."""
        return 200, b"ok", {}

    def check(self, schema: dict[str, Any], value: Any) -> bool:
        """Whether a value fits; what does not is kept in `errors`."""
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        found = [f"{list(e.absolute_path)}: {e.message[:300]}" for e in validator.iter_errors(value)]
        self.errors += found
        return not found

    @contextmanager
    def running(self) -> Iterator["Receiver"]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, self.rfile.read(length))
                status, body, more = receiver.refuse or receiver.answer(request)
                if receiver.refuse is None:
                    receiver.requests.append(request)
                    receiver.on_request(request)
                with contextlib.suppress(OSError):  # who asked may be gone
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(body)), **more}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, format: str, *args: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        server.daemon_threads = True
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class PagerDuty(Receiver):
    """Events API v2; `alerts` are the alerts by dedup key: triggered, acknowledged or resolved."""

    def __post_init__(self) -> None:
        self.alerts: dict[str, str] = {}

    def answer(self, request: Request) -> Answer:
        event = request.json
        if request.path != "/v2/enqueue" or not self.check(EVENT, event):
            return 400, b'{"status":"invalid event"}', {}
        self.alerts[event["dedup_key"]] = f"{event['event_action']}"
        reply = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return 202, json.dumps(reply).encode(), {"Content-Type": "application/json"}


class SlackWebhook(Receiver):
    """An incoming webhook."""

    def answer(self, request: Request) -> Answer:
        body = request.json
        if not body.get("text") or not self.check(BLOCKS, body["blocks"]):
            return 400, b"invalid_blocks", {}
        return 200, b"ok", {}


class Slack(Receiver):
    """The methods of the Web API that our bot calls; `posted` are the messages by ts, `files` what was uploaded."""

    token = "xoxb-0000-test-bot-token"
    channel = "C0123456789"

    def __post_init__(self) -> None:
        self.posted: dict[str, dict[str, Any]] = {}
        self.files: list[tuple[str, bytes]] = []
        self.shared: list[dict[str, Any]] = []

    def answer(self, request: Request) -> Answer:
        path = urlsplit(request.path).path
        if path.startswith("/upload/"):
            self.files.append((path, request.body))
            return 200, b"OK", {}
        if f"Bearer {self.token}" != request.headers.get("authorization"):
            return self._say({"ok": False, "error": "invalid_auth"})
        method = path.removeprefix("/api/")
        handlers = {
            "chat.postMessage": self._post, "chat.update": self._update, "conversations.history": self._history,
            "conversations.replies": self._history, "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._complete,
        }  # fmt: skip
        return self._say(handlers[method](_parameters(request)))

    @property
    def roots(self) -> list[dict[str, Any]]:
        return [m for m in self.posted.values() if "thread_ts" not in m]

    @property
    def replies(self) -> list[dict[str, Any]]:
        return [m for m in self.posted.values() if "thread_ts" in m]

    @staticmethod
    def _say(answer: dict[str, Any]) -> Answer:
        return 200, json.dumps(answer).encode(), {"Content-Type": "application/json; charset=utf-8"}

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.check(BLOCKS, body["blocks"]) or not body["text"]:
            return {"ok": False, "error": "invalid_blocks"}
        if body["channel"] not in ("#alerts", self.channel):
            return {"ok": False, "error": "channel_not_found"}
        if "thread_ts" in body and body["thread_ts"] not in self.posted:
            return {"ok": False, "error": "thread_not_found"}
        ts = f"1700000000.{len(self.posted):06d}"
        self.posted[ts] = {**body, "ts": ts}
        return {"ok": True, "channel": self.channel, "ts": ts, "message": {"text": body["text"]}}

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.check(BLOCKS, body["blocks"]):
            return {"ok": False, "error": "invalid_blocks"}
        if body["ts"] not in self.posted or body["channel"] != self.channel:
            return {"ok": False, "error": "message_not_found"}
        self.posted[body["ts"]] |= {"text": body["text"], "blocks": body["blocks"], "updated": True}
        return {"ok": True, "channel": self.channel, "ts": body["ts"], "text": body["text"]}

    def _history(self, body: dict[str, Any]) -> dict[str, Any]:
        thread = body.get("ts")
        found = [m for m in self.posted.values() if m.get("thread_ts") == thread]
        return {"ok": True, "messages": [{"ts": m["ts"], "metadata": m["metadata"]} for m in found], "has_more": False}

    def _upload_url(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "upload_url": f"{self.url}/upload/1", "file_id": "F0123456789"}

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        self.shared.append(body)
        return {"ok": True, "files": [{"id": "F0123456789", "title": "Forecast"}]}


def _parameters(request: Request) -> dict[str, Any]:
    """JSON, or a form whose values may be JSON."""
    if "json" in request.headers.get("content-type", ""):
        return dict(request.json)
    pairs = parse_qs(request.body.decode() or urlsplit(request.path).query)
    return {name: values[0] for name, values in pairs.items()}


def certificate(folder: Path) -> Path:
    """Key and certificate of 127.0.0.1, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1)).add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path
