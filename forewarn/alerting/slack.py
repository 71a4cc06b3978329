"""Channels 'slack' (a bot: one thread an incident, kept up to date, with the picture) and 'slack_webhook'."""

import logging
import re
import urllib.error
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from forewarn.alerting import slack_blocks
from forewarn.alerting.channel import Digest, Notification, Receipt, Undelivered, redacted
from forewarn.alerting.picture import alt_text, draw_forecast
from forewarn.alerting.wording import digest_title, one_line

if TYPE_CHECKING:
    from slack_sdk.errors import SlackApiError

TIMEOUT_SECONDS = 10
_LOUD = ("failed", "reopened", "raised")  # answers in the thread that the whole channel sees
_PERMANENT = (
    "invalid_blocks",
    "invalid_arguments",
    "msg_too_long",
    "msg_blocks_too_long",
    "no_text",
    "too_many_attachments",
)
_GONE = (  # the first message, or its channel, of an incident that was told before
    "message_not_found",
    "thread_not_found",
    "cant_update_message",
    "edit_window_closed",
    "channel_not_found",
    "is_archived",
)
_ID = re.compile(r"[CGD][A-Z0-9]{8,}")
logger = structlog.get_logger(__name__)
quiet = logging.getLogger("forewarn.slack_sdk")
quiet.setLevel(
    logging.CRITICAL + 1
)  # the library logs the webhook's address, which is the secret, and what servers say


class SlackChannel:
    """Posts as a bot: one thread an incident, whose first message shows what holds now."""

    def __init__(self, name: str, token: str, channel: str, url: str, answering: bool = False) -> None:
        """answering: the app's button presses reach the gateway."""
        from slack_sdk import WebClient

        self.name = name
        self._answering = answering
        self._token, self._channel = token, channel
        base = url if url.endswith("/") else f"{url}/"
        self._client: WebClient = WebClient(token, base_url=base, timeout=TIMEOUT_SECONDS, logger=quiet)

    def send(self, notification: Notification) -> Receipt | None:
        """See Channel."""
        told = [dict(r) for r in notification.receipts if r.get("ts")]
        own = [r for r in told if not r.get("digest")]
        root = own[-1] if own else next(iter(told), None)  # the last: it may have been posted anew
        return self._asking(lambda: self._again(notification, root) if root else self._first(notification))

    def send_digest(self, digest: Digest) -> Receipt | None:
        """See Channel."""
        return self._asking(lambda: self._summary(digest))

    def close(self) -> None:
        """See Channel: each request has a connection of its own."""

    def _summary(self, digest: Digest) -> Receipt:
        text, blocks = digest_title(digest), slack_blocks.digest_blocks(digest)
        where, _ = self._post(digest.message_id, digest.in_doubt, text, blocks)
        return {**where, "digest": True}

    def _first(self, notification: Notification) -> Receipt:
        text, blocks = slack_blocks.fallback_text(notification), slack_blocks.blocks_of(notification, self._answering)
        receipt, new = self._post(notification.message_id, notification.in_doubt, text, blocks)
        if new:
            self._picture(notification, receipt)
        return receipt

    def _again(self, notification: Notification, root: dict[str, Any]) -> Receipt:
        """In its thread, or as a new message where the first one was deleted or cannot be changed any more."""
        from slack_sdk.errors import SlackApiError

        try:
            return self._reply(notification, root)
        except SlackApiError as error:
            if _code(error) not in _GONE:
                raise
            return self._first(notification)

    def _reply(self, notification: Notification, root: dict[str, Any]) -> Receipt:
        """Bring the first message up to date and, where it is more than new numbers, answer in its thread."""
        if not root.get("digest"):
            text, blocks = (
                slack_blocks.fallback_text(notification),
                slack_blocks.blocks_of(notification, self._answering),
            )
            self._client.chat_update(channel=root["channel"], ts=root["ts"], text=text, blocks=blocks)
        if notification.reason != "updated":
            self._post(
                notification.message_id, notification.in_doubt, slack_blocks.fallback_text(notification),
                slack_blocks.reply_blocks(notification), root, notification.reason in _LOUD,
            )  # fmt: skip
        return root

    def _post(
        self, message_id: str, in_doubt: bool, text: str, blocks: list[dict[str, Any]],
        root: dict[str, Any] | None = None, loud: bool = False,
    ) -> tuple[dict[str, Any], bool]:  # fmt: skip
        """Post once: after a broken attempt, look first whether it is there. Returns where it is, and if it is new."""
        found = self._find(message_id, root) if in_doubt else None
        if found is not None:
            return found, False
        thread = {"thread_ts": root["ts"], "reply_broadcast": loud} if root else {}
        answer = self._client.chat_postMessage(
            channel=root["channel"] if root else self._channel, text=text, blocks=blocks, unfurl_links=False,
            metadata={"event_type": "forewarn_message", "event_payload": {"message_id": message_id}}, **thread,
        )  # fmt: skip
        return {"channel": answer["channel"], "ts": answer["ts"]}, True

    def _picture(self, notification: Notification, receipt: Receipt) -> None:
        """The forecast into the thread; a message without it is better than one that is sent again."""
        from slack_sdk.errors import SlackClientError

        risk = notification.cause.risk
        picture = draw_forecast(risk) if risk is not None else None
        if risk is None or picture is None:
            return
        try:
            self._client.files_upload_v2(
                content=picture, filename="forecast.png", title="Forecast", alt_txt=one_line(alt_text(risk), 900),
                channel=receipt["channel"], thread_ts=receipt["ts"], request_file_info=False,
            )  # fmt: skip
        except (SlackClientError, OSError) as error:
            logger.warning("the picture of the forecast was not taken", error=redacted(str(error), self._token))

    def _find(self, message_id: str, root: dict[str, Any] | None) -> dict[str, Any] | None:
        """Where a message is that may have been posted, by its metadata."""
        from slack_sdk.errors import SlackApiError

        try:
            channel = root["channel"] if root else self._channel_id()
            if root:
                answer = self._client.conversations_replies(
                    channel=channel, ts=root["ts"], include_all_metadata=True, limit=200
                )
            else:
                answer = self._client.conversations_history(channel=channel, include_all_metadata=True, limit=200)
        except SlackApiError as error:
            logger.warning("cannot look whether a message is there", error=redacted(str(error), self._token))
            return None
        for posted in answer.get("messages") or ():
            payload = (posted.get("metadata") or {}).get("event_payload") or {}
            if payload.get("message_id") == message_id:
                return {"channel": channel, "ts": posted["ts"]}
        return None

    def _channel_id(self) -> str:
        if _ID.fullmatch(self._channel):
            return self._channel
        wanted = self._channel.removeprefix("#")
        for page in self._client.conversations_list(types="public_channel,private_channel", limit=1000):
            for channel in page.get("channels") or ():
                if channel.get("name") == wanted:
                    return str(channel["id"])
        return self._channel

    def _asking(self, request: Callable[[], Receipt]) -> Receipt:
        """Run a request; what the library raises becomes Undelivered without the token."""
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            return request()
        except SlackApiError as error:
            code = _code(error)
            headers = getattr(error.response, "headers", {}) or {}
            raise Undelivered(
                f"Slack: {redacted(code or 'no answer', self._token)}{_HINTS.get(code, '')}", code in _PERMANENT,
                retry_after(headers),
            ) from None  # fmt: skip
        except (SlackClientError, OSError, ValueError) as error:
            raise Undelivered(f"Slack: {redacted(f'{type(error).__name__}: {error}', self._token)}") from None


class SlackWebhookChannel:
    """Posts over an incoming webhook, which knows neither threads nor updates."""

    def __init__(self, name: str, url: str, answering: bool = False) -> None:
        """answering: see SlackChannel."""
        from slack_sdk.webhook import WebhookClient

        self.name = name
        self._answering = answering
        self._url = url
        self._client = WebhookClient(url, timeout=TIMEOUT_SECONDS, logger=quiet)

    def send(self, notification: Notification) -> None:
        """See Channel."""
        self._post(slack_blocks.fallback_text(notification), slack_blocks.blocks_of(notification, self._answering))

    def send_digest(self, digest: Digest) -> None:
        """See Channel."""
        self._post(digest_title(digest), slack_blocks.digest_blocks(digest))

    def close(self) -> None:
        """See Channel: each request has a connection of its own."""

    def _post(self, text: str, blocks: list[dict[str, Any]]) -> None:
        try:
            answer = self._client.send(text=text, blocks=blocks, unfurl_links=False)
        except (OSError, ValueError, urllib.error.URLError) as error:
            said = redacted(f"{type(error).__name__}: {error}", self._url)
            raise Undelivered(f"Slack webhook: {said}") from None
        if answer.status_code == 200:
            return
        permanent = answer.body in _PERMANENT
        text = redacted(f"{answer.status_code} {answer.body}", self._url)
        raise Undelivered(f"Slack webhook: {text}", permanent, retry_after(answer.headers))


def _code(error: "SlackApiError") -> str:
    """Slack's word for what is wrong, '' where it gave none."""
    answer: Any = error.response
    return str(answer.get("error", "")) if hasattr(answer, "get") else str(answer)


_HINTS = {
    "not_in_channel": " (invite the bot into the channel)",
    "channel_not_found": " (is FOREWARN_SLACK_CHANNEL right, and the bot in it?)",
    "invalid_auth": " (is FOREWARN_SLACK_BOT_TOKEN right?)",
    "missing_scope": " (the bot needs chat:write, files:write, channels:history, channels:read)",
}


def retry_after(headers: Any) -> float | None:
    """Seconds of the header Retry-After, where there is one that can be read."""
    value = headers.get("Retry-After") or headers.get("retry-after") if headers else None
    try:
        return min(max(float(value[0] if isinstance(value, list) else value), 0.0), 3600.0) if value else None
    except ValueError:
        return None
