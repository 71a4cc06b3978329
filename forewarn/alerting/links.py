"""Signed addresses in messages: answering with one click, and the picture of a forecast."""

import os
import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from forewarn.alerting.channel import Links
from forewarn.config.doors import gateway_url
from forewarn.config.settings import Settings

ANSWERS = ("acknowledged", "confirmed", "dismissed", "averted")
_NAMESPACE = uuid.UUID("3d3e1f58-0b1c-4a86-8f0a-9d27ab2f7d42")


class LinkError(ValueError):
    """A link that cannot be used, and why, in words for whoever clicked it."""


@dataclass(frozen=True, slots=True)
class AnswerLink:
    """What a link says: a verdict on an incident. channel: where it was sent."""

    incident_id: str
    verdict: str
    channel: str
    answer_id: str  # the same for the same link, so that two clicks are one answer


class LinkSigner:
    """Makes and reads links; both ends must have the same key."""

    def __init__(self, key: str, base_url: str, hours: float) -> None:
        self._answers = URLSafeTimedSerializer(key, salt="forewarn answer")
        self._pictures = URLSafeTimedSerializer(key, salt="forewarn picture")
        self._base, self._seconds = base_url.rstrip("/"), int(hours * 3600)

    @classmethod
    def of(cls, settings: Settings) -> "LinkSigner":
        """With the key of the settings, or the one in the home folder."""
        key = settings.link_key.get_secret_value() if settings.link_key else read_key(settings.home / "link.key")
        base = settings.answer_url or gateway_url(settings)
        return cls(key, base, settings.link_hours)

    def links(self, incident_id: str, version: int, channel: str) -> Links:
        """Addresses for a message; that of the picture only over https, as nobody else would fetch it."""

        def answer(verdict: str) -> str:
            return f"{self._base}/answer/{self._answers.dumps([incident_id, verdict, channel])}"

        picture = f"{self._base}/forecast/{self._pictures.dumps([incident_id, version])}.png"
        return Links(
            answer("confirmed"), answer("dismissed"), answer("acknowledged"),
            picture if self._base.startswith("https://") else "",
        )  # fmt: skip

    def read_answer(self, token: str) -> AnswerLink:
        """Raises LinkError."""
        incident_id, verdict, channel = map(str, self._read(self._answers, token))
        if verdict not in ANSWERS:
            raise LinkError("this link asks for something that cannot be answered")
        return AnswerLink(incident_id, verdict, channel, str(uuid.uuid5(_NAMESPACE, token)))

    def read_picture(self, token: str) -> tuple[str, int]:
        """(incident, version). Raises LinkError."""
        incident_id, version = self._read(self._pictures, token)
        return str(incident_id), int(version)

    def _read(self, serializer: URLSafeTimedSerializer, token: str) -> list[Any]:
        try:
            return list(serializer.loads(token, max_age=self._seconds))
        except SignatureExpired as error:
            hours = self._seconds / 3600
            raise LinkError(f"this link has expired: it could be used for {hours:g} hours") from error
        except BadSignature as error:
            raise LinkError("this link is not whole, or was made with another key (FOREWARN_LINK_KEY)") from error


def read_key(path: Path) -> str:
    """The key in a file that only its owner can read; made where there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)  # the first of two processes wins, and the file is never seen half written
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
