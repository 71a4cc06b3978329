"""Buttons of our Slack messages that answer, and what Slack says when somebody has pressed one."""

import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from forewarn.alerting.wording import one_line

ACTION = "forewarn-answer-"  # begins the action id of a button that answers; those of links begin otherwise
_NAMESPACE = uuid.UUID("5a0b9f0c-6a51-4a7e-9b64-0f1a2d3c4e5f")
_BUTTONS = {
    "acknowledged": ("Acknowledge", "primary"),
    "confirmed": ("Confirm", ""),
    "dismissed": ("False alarm", ""),
}
_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")


def answer_buttons(incident_id: str) -> list[dict[str, Any]]:
    """Buttons that answer where they are pressed; what closes the incident asks once more."""
    return [
        {
            "type": "button", "text": _plain(text), "action_id": f"{ACTION}{verdict}", "value": incident_id,
            **({"style": style} if style else {}), **({"confirm": _SURE} if verdict == "dismissed" else {}),
        }
        for verdict, (text, style) in _BUTTONS.items()
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Press:
    """Somebody pressed a button. answer_id: the same for the same press. response_url: where Slack takes a reply."""

    answer_id: str
    incident_id: str
    verdict: str
    author: str
    response_url: str


class _User(msgspec.Struct):
    id: str
    name: str | None = None


class _Action(msgspec.Struct):
    action_id: str = ""
    value: str | None = None
    action_ts: str = ""

    @property
    def verdict(self) -> str | None:
        verdict = self.action_id.removeprefix(ACTION)
        return verdict if self.action_id.startswith(ACTION) and verdict in _BUTTONS else None


class _Payload(msgspec.Struct):
    type: str
    user: _User | None = None
    actions: list[_Action] = []
    response_url: str | None = None


def read_press(body: bytes) -> Press | None:
    """What was answered; None where nothing was, as by a button that is a link. Raises ValueError: not from Slack."""
    try:
        (text,) = parse_qs(body.decode(), max_num_fields=20)["payload"]
        payload = msgspec.json.decode(text, type=_Payload)
    except (KeyError, ValueError) as error:  # msgspec's and Unicode's are ValueErrors too
        raise ValueError(f"the body is no form with a payload of Slack: {error}") from None
    if payload.type != "block_actions" or payload.user is None:
        return None
    for action in payload.actions:
        if action.verdict is not None:
            return _press(payload.user, action, action.verdict, payload.response_url or "")
    return None


def _press(user: _User, action: _Action, verdict: str, response_url: str) -> Press:
    incident_id = str(uuid.UUID(action.value or ""))
    answer_id = uuid.uuid5(_NAMESPACE, f"{user.id}/{action.action_ts}/{verdict}/{incident_id}")
    author = f"{one_line(user.name or '', 60) or 'somebody'} (Slack {one_line(user.id, 30)})"
    return Press(str(answer_id), incident_id, verdict, author, response_url)


def replies_to(response_url: str, slack_url: str) -> bool:
    """Whether it is an address of Slack; slack_url: of its API, as set."""
    url, api = urlsplit(response_url), urlsplit(slack_url)
    return (url.scheme == "https" and url.netloc in _HOSTS) or (url.scheme, url.netloc) == (api.scheme, api.netloc)


def _plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


_SURE = {
    "title": _plain("A false alarm?"), "text": _plain("It is closed, and models learn from it."),
    "confirm": _plain("False alarm"), "deny": _plain("Back"),
}  # fmt: skip
