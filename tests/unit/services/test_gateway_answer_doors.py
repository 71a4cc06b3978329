"""The doors for answers: whose body does not come is not waited for, and a typed name is told from a proven one."""

import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.types import Message, Scope

from forewarn.alerting.links import LinkSigner
from forewarn.config.settings import Settings
from forewarn.services.gateway import answer_door, body
from forewarn.services.gateway.answer_door import AnswerDoor
from forewarn.services.gateway.response_door import ResponseDoor
from forewarn.stores.tokens import Token

ID = "7a1d9c52-3f0e-4b8a-9c44-5d2f6a7b8c9d"


class Tokens:
    """Those who may act have the token `act`."""

    known = True

    def find(self, token: str) -> Token | None:
        made = datetime(2026, 1, 5, tzinfo=UTC)
        return Token("1", "bot", ["act"], b"", "mia", made, None, None, None) if token == "act" else None


@pytest.fixture
def settings() -> Settings:
    return Settings(
        _env_file=None, link_key=SecretStr("a key"), public_url="https://fw.example", answer_url="https://fw.example"
    )


def post(app: Starlette, path: str, said: bytes | None, token: str = "") -> tuple[int, str]:
    """Status and text. said: the body; None where it never comes."""
    sent: list[Message] = []
    scope: Scope = {
        "type": "http", "method": "POST", "path": path, "query_string": b"", "http_version": "1.1",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }  # fmt: skip

    async def receive() -> Message:
        if said is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": said, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent).decode()


def answer_path(settings: Settings) -> str:
    return LinkSigner.of(settings).links(ID, 1, "email").dismiss.removeprefix("https://fw.example")


def test_an_answer_whose_body_does_not_come_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_READ_SECONDS", 0.0)
    app = Starlette(routes=AnswerDoor(settings).routes())
    status, page = post(app, answer_path(settings), None)
    assert status == 408
    assert "Nothing was recorded: the body did not arrive" in page
    status, page = post(app, answer_path(settings), b"note=" + b"x" * answer_door.MAX_FORM_BYTES)
    assert status == 413
    assert "larger than 8192 bytes" in page


def test_a_decision_whose_body_does_not_come_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_READ_SECONDS", 0.0)
    app = Starlette(routes=ResponseDoor(settings, Tokens()).routes())  # type: ignore[arg-type]
    assert post(app, f"/v1/responses/{ID}/approve", None, "act")[0] == 408
    assert post(app, f"/v1/responses/{ID}/approve", b"x" * 10_000, "act")[0] == 413
    assert post(app, f"/v1/responses/{ID}/approve", b"[1]", "act")[0] == 400


def test_without_a_token_the_body_is_not_looked_at(settings: Settings) -> None:
    app = Starlette(routes=ResponseDoor(settings, Tokens()).routes())  # type: ignore[arg-type]
    assert post(app, f"/v1/responses/{ID}/approve", b"[1]", "wrong")[0] == 401


@pytest.mark.parametrize(
    ("form", "author"),
    [
        (b"author=Mia+Chen+(PagerDuty+P123)", "Mia Chen (PagerDuty P123) (by link, email)"),
        (b"", "a reader (by link, email)"),
    ],
)
def test_who_answered_by_link_is_said_to_have(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, form: bytes, author: str
) -> None:
    recorded = []

    def record(*told: Any) -> tuple[None, bool]:
        recorded.append(told[4])
        return None, False

    monkeypatch.setattr(answer_door, "record", record)
    monkeypatch.setattr(answer_door, "psycopg", SimpleNamespace(connect=lambda url: nullcontext(), Error=OSError))
    post(Starlette(routes=AnswerDoor(settings).routes()), answer_path(settings), form)
    assert recorded == [author]
