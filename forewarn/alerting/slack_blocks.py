"""Slack's Block Kit of a notification. What telemetry says can neither mention anybody nor add links or markup."""

from typing import Any

from forewarn.alerting import wording
from forewarn.alerting.channel import Digest, Notification
from forewarn.alerting.picture import alt_text
from forewarn.alerting.slack_answers import answer_buttons
from forewarn.incidents.paging import CLOSINGS
from forewarn.risk.quantities import format_instant

Block = dict[str, Any]
MAX_DIGEST_LINES = 40
_DOTS = {"critical": ":red_circle:", "warning": ":large_orange_circle:", "info": ":large_blue_circle:"}
_ZERO_WIDTH = "\u200b"


def escaped(text: str, limit: int = 300) -> str:
    """mrkdwn in which telemetry stays text: `&<>` as Slack wants them, and no `*_~` or backtick that formats."""
    clean = wording.one_line(text, limit)
    for sign, harmless in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        clean = clean.replace(sign, harmless)
    for sign in "*_~`":
        clean = clean.replace(sign, f"{_ZERO_WIDTH}{sign}{_ZERO_WIDTH}")
    return clean


def fallback_text(notification: Notification) -> str:
    """What notifications and screen readers show."""
    return f"{wording.headline(notification)}: {escaped(notification.incident.title)}"


def blocks_of(notification: Notification, answering: bool = False) -> list[Block]:
    """Blocks of a message that stands for itself; at most 50, each within Slack's limits.

    answering: its buttons answer where they are pressed; else they are links to a page that does.
    """
    incident = notification.incident
    closed = notification.reason in CLOSINGS
    label = wording.headline(notification) + ("" if closed else f" · {incident.severity}")
    dot = ":white_check_mark:" if closed else _DOTS[incident.severity]
    blocks: list[Block] = [
        {"type": "header", "text": {"type": "plain_text", "text": label[:150], "emoji": True}},
        _section(
            f"{dot} *<{notification.url}|{escaped(incident.title)}>*\n{escaped(wording.sentence(notification), 2000)}"
        ),
    ]
    fields = _fields(notification)
    if fields:
        blocks.append({"type": "section", "fields": [{"type": "mrkdwn", "text": text} for text in fields]})
    if not closed:
        blocks += _list("What to do", [_advice(text, link) for text, link in wording.advice(incident.actions)])
        blocks += _list("Why", [escaped(text) for text in wording.reasons(incident.drivers)])
        blocks += _list("Evidence", [escaped(text) for text in wording.evidence(notification)])
    blocks += _list("Also affected", [escaped(text) for text in wording.affected(notification.others)])
    if notification.links.picture and not closed and notification.cause.risk is not None:
        alt = wording.one_line(alt_text(notification.cause.risk), 1900)
        blocks.append({"type": "image", "image_url": notification.links.picture, "alt_text": alt})
    blocks.append(_small_print(notification))
    if not closed:
        blocks.append({"type": "actions", "elements": _buttons(notification, answering)})
    return blocks[:50]


def reply_blocks(notification: Notification) -> list[Block]:
    """Blocks of an answer in the thread: what is new, shortly."""
    text = f"*{wording.headline(notification)}*\n{escaped(wording.sentence(notification), 2000)}"
    if notification.reason == "acknowledged":
        text = f"*{wording.headline(notification)}*: {escaped(notification.why)}"
    blocks: list[Block] = [_section(text)]
    if notification.located:
        blocks.append(_section(escaped(notification.located, 600)))
    score = [f"*{name}*\n{escaped(value)}" for name, value in wording.scorecard(notification)]
    if score:
        blocks.append({"type": "section", "fields": [{"type": "mrkdwn", "text": text} for text in score]})
    return [*blocks, _small_print(notification)]


def digest_blocks(digest: Digest) -> list[Block]:
    """Blocks of several incidents: a line each."""
    lines = [f"• <{n.url}|{escaped(wording.told_line(n), 220)}>" for n in digest.notifications]
    more = len(lines) - MAX_DIGEST_LINES
    if more > 0:
        lines = [*lines[:MAX_DIGEST_LINES], f"and {more} more"]
    title = wording.digest_title(digest)[:150]
    sections = [_section("\n".join(lines[i : i + 5])) for i in range(0, len(lines), 5)]
    small: Block = {"type": "context", "elements": [{"type": "mrkdwn", "text": escaped(digest.why) or "Forewarn"}]}
    return [{"type": "header", "text": {"type": "plain_text", "text": title, "emoji": True}}, *sections, small]


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:3000]}}


def _fields(notification: Notification) -> list[str]:
    left = wording.countdown(notification)
    rows = [("Time left", left[0]), ("Interval", left[1])] if left is not None else []
    rows += wording.scorecard(notification)
    return [f"*{name}*\n{escaped(value)}" for name, value in rows][:10]


def _list(title: str, lines: list[str]) -> list[Block]:
    shown = [*lines[:8], *([f"and {len(lines) - 8} more"] if len(lines) > 8 else [])]
    return [_section(f"*{title}*\n" + "\n".join(f"• {line}" for line in shown))] if lines else []


def _advice(text: str, link: str) -> str:
    safe = link and not set(link) & set("<>| \n")
    return f"<{escaped_link(link)}|{escaped(text)}>" if safe else escaped(text)


def escaped_link(link: str) -> str:
    """An address inside `<…>`."""
    return link.replace("&", "&amp;")


def _small_print(notification: Notification) -> Block:
    at = f"Event time {format_instant(notification.incident.updated_at)}"
    why = escaped(wording.plain_why(notification), 400)
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": f"{at} · {why}" if why else at}]}


def _buttons(notification: Notification, answering: bool) -> list[Block]:
    links = notification.links
    wanted = [("Open", notification.url, "")]
    if not answering:
        wanted += [("Confirm", links.confirm, "primary"), ("False alarm", links.dismiss, "")]
    buttons = [
        {
            "type": "button", "text": {"type": "plain_text", "text": text}, "url": url,
            "action_id": f"forewarn-{text.lower().replace(' ', '-')}", **({"style": style} if style else {}),
        }
        for text, url, style in wanted
        if url
    ]  # fmt: skip
    return [*buttons, *(answer_buttons(notification.incident.incident_id) if answering else ())]
