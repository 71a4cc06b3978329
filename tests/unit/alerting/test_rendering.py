"""Mails and panels: what they say, and that telemetry cannot make them say anything else."""

import io
import struct
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser

import pytest
from incident_records import DISK, ERRORS, POOL, SHOP_EDGES, at, risk
from rich.console import Console

from forewarn.alerting.channel import Notification
from forewarn.alerting.console import render_panel
from forewarn.alerting.email import EmailChannel, render_mail
from forewarn.alerting.picture import alt_text, draw_forecast
from forewarn.alerting.wording import one_line
from forewarn.config.settings import Settings
from forewarn.incidents.assembly import assemble
from forewarn.incidents.episodes import Episode
from forewarn.incidents.graph import ServiceGraph
from forewarn.risk.records import Action, Driver, Forecast, Risk

EVIL = "<script>alert(1)</script>\r\nBcc: all@example.org\x1b[2J\u202e[red]&amp;"


def notification(
    of: Risk, reason: str = "opened", others: tuple[Episode, ...] = (), failed: float | None = None
) -> Notification:
    failed_at = None if failed is None else at(failed)
    cause = Episode(of.episode, of.entity, of.signal, of.mode, of.predicted_at, of, of, failed_at,
                    limit=of.limit, unit=of.unit)  # fmt: skip
    incident, _ = assemble(
        "i1", None, [cause, *others], ServiceGraph(SHOP_EDGES), at(0), timedelta(minutes=30), lambda _: "Track record."
    )
    url = f"http://127.0.0.1:5006/risk?incident={incident.incident_id}"
    return Notification("m1", (), reason, incident, incident.title, cause, others, url)


def html_of(of: Notification) -> str:
    mail = message_from_bytes(bytes(render_mail(of, "forewarn@example.org", "oncall@example.org")), policy=default)
    body = mail.get_body(("html",))
    assert body is not None
    return str(body.get_content())


def evil() -> Risk:
    return replace(
        risk(0), entity=f"shop/{EVIL}", signal=f"{POOL}{{pool={EVIL}}}", model_version=EVIL, evidence=[EVIL],
        drivers=[Driver("x", "y", EVIL, 1.0)], actions=[Action(EVIL, "javascript:alert(1)")],
    )  # fmt: skip


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_telemetry_cannot_add_markup_links_or_headers() -> None:
    hostile = notification(evil(), others=(notification(evil()).cause,))
    parser = _Tags()
    parser.feed(html_of(hostile))
    assert "script" not in parser.tags
    assert all(link.startswith(("http://127.0.0.1", "cid:")) for link in parser.links)
    mail = message_from_bytes(bytes(render_mail(hostile, "f@example.org", "o@example.org")), policy=default)
    assert mail["Bcc"] is None and mail["To"] == "o@example.org"
    assert "<script>alert(1)</script> Bcc: all@example.org" in mail["Subject"]
    assert "\x1b" not in str(mail["Subject"])


def test_telemetry_cannot_drive_the_terminal() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(render_panel(notification(evil())))
    assert "\x1b" not in out.getvalue() and "\u202e" not in out.getvalue()
    assert "[red]" in out.getvalue(), "markup is shown, not obeyed"


def test_the_mail_is_text_html_and_a_picture_with_words_for_it() -> None:
    mail = render_mail(notification(risk(0)), "forewarn@example.org", "oncall@example.org")
    assert [p.get_content_type() for p in mail.walk()] == [
        "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
    ]  # fmt: skip
    picture = next(p for p in mail.walk() if p.get_content_type() == "image/png")
    assert picture["Content-ID"] == "<forecast@forewarn>" and picture.get_content_disposition() == "inline"
    html = html_of(notification(risk(0)))
    assert 'src="cid:forecast@forewarn"' in html and 'alt="db.client.connections.usage of shop/db: its last 3 h' in html
    assert "2.1 h" in html and "add a read replica" in html and "Track record." in html


def test_a_failure_shows_what_was_said_against_what_came() -> None:
    html = html_of(notification(risk(0), "failed", failed=118))
    assert "It has failed, as predicted" in html
    assert "came 8 min earlier than said" in html and "it failed after 2.0 h" in html


def test_a_failure_that_nobody_predicted_says_so() -> None:
    missed = notification(risk(0), "failed", failed=118)
    cause = replace(missed.cause, first=None, risk=None, predicted=False)
    incident, _ = assemble("i1", None, [cause], ServiceGraph(), at(118), timedelta(minutes=30), lambda _: "")
    html = html_of(replace(missed, cause=cause, incident=incident))
    assert "It has failed, not predicted" in html and "<img" not in html


def test_what_the_telemetry_adds_is_told_with_the_evidence() -> None:
    told = replace(notification(risk(0)), located=f"Not proven: it points to shop/disk: {EVIL}.")
    html = html_of(told)
    assert "it points to shop/disk" in html and "<script>" not in html


def test_replies_stay_in_the_thread() -> None:
    later = replace(notification(risk(0), "resolved"), message_id="m3", thread=("m1", "m2"), subject="the first title")
    mail = render_mail(later, "forewarn@example.org", "oncall@example.org")
    assert mail["Subject"] == "Re: [Forewarn] the first title"
    assert (mail["Message-ID"], mail["In-Reply-To"]) == ("<m3@forewarn.invalid>", "<m2@forewarn.invalid>")
    assert mail["References"] == "<m1@forewarn.invalid> <m2@forewarn.invalid>"


@pytest.mark.parametrize("signal", [POOL, ERRORS, DISK])
def test_the_picture_is_a_png_of_the_asked_size(signal: str) -> None:
    png = draw_forecast(risk(0, signal=signal), failed_at=at(90), width=4, dpi=100)
    assert png is not None and png.startswith(b"\x89PNG")
    assert struct.unpack(">II", png[16:24]) == (400, 168)


def test_no_history_no_picture_and_gaps_are_gaps() -> None:
    assert draw_forecast(replace(risk(0), forecast=Forecast())) is None
    assert draw_forecast(replace(risk(0), forecast=Forecast([-60.0, 0.0], [None, 62.0]))) is not None
    assert alt_text(risk(0)) == (
        "db.client.connections.usage of shop/db: its last 3 h, then 62; the forecast reaches the limit of 100 "
        "in 2.1 h (80 %: 1.4–3.3 h; 12 %: never)."
    )


def test_one_line_is_one_short_harmless_line() -> None:
    assert one_line("a\r\n b\x00c\u2028d") == "a b c d"
    assert len(one_line("x" * 999)) == 300


def test_mail_without_a_server_is_refused_with_what_to_set() -> None:
    with pytest.raises(ValueError, match="FOREWARN_SMTP_HOST"):
        EmailChannel(Settings(smtp_host=None))
