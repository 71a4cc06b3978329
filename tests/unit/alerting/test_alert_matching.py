"""Matchers, and mails of several incidents and with links."""

from dataclasses import replace
from email import message_from_bytes
from email.policy import default

import pytest
from incident_records import risk
from test_rendering import EVIL, evil, html_of, notification

from forewarn.alerting.channel import Digest, Links
from forewarn.alerting.email import render_digest, render_mail
from forewarn.alerting.matching import check_match, matches

LABELS = {"entity": "shop/db[1].x", "severity": "critical", "team": "data"}


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"entity": "shop/db[1].x"}, True),
        ({"entity": "shop/db*"}, True),
        ({"entity": "shop/db[1]?x"}, False),
        ({"entity": "*/db*", "severity": "warning"}, False),
        ({"severity": "!critical"}, False),
        ({"severity": "!warning"}, True),
        ({"severity": ["warning", "critical"]}, True),
        ({"entity": "~shop/.*"}, True),
        ({"entity": "~shop"}, False),
        ({"entity": "!~shop/.*"}, False),
        ({"label.team": "data"}, True),
        ({"unknown": ""}, True),
        ({"unknown": "*x"}, False),
    ],
)
def test_what_fits(match: dict[str, str | list[str]], fits: bool) -> None:
    assert matches(match, LABELS) is fits


def test_a_regular_expression_that_is_none_is_said() -> None:
    with pytest.raises(ValueError, match=r"entity: '~\(' is no regular expression"):
        check_match({"entity": "~("})


def test_a_mail_has_links_to_answer_while_it_is_open_and_says_why_it_came() -> None:
    links = Links("https://fw.example/answer/yes", "https://fw.example/answer/no")
    told = replace(notification(risk(0)), links=links, why="paged now: <b>")
    html = html_of(told)
    assert 'href="https://fw.example/answer/yes"' in html and "False alarm" in html and "paged now: &lt;b&gt;" in html
    over = replace(told, reason="withdrawn")
    assert "answer/yes" not in html_of(over)


def test_a_mail_about_several_incidents_is_one_line_each_and_harmless() -> None:
    two = (replace(notification(evil()), message_id="a"), notification(risk(0)))
    two = (replace(two[0], incident=replace(two[0].incident, incident_id="other")), two[1])
    digest = Digest("batch", two, True, EVIL, "https://fw.example")
    mail = message_from_bytes(bytes(render_digest(digest, "f@example.org", "o@example.org")), policy=default)
    assert (
        mail["Subject"].strip().startswith("[Forewarn] Held back by the rate limit: 2 incidents")
        and mail["Bcc"] is None
    )
    html, text = (mail.get_body((kind,)) for kind in ("html", "plain"))
    assert html is not None and text is not None
    assert (
        "<script>" not in html.get_content()
        and "shop/db: connection pool reaches its limit of 100" in text.get_content()
    )


def test_what_follows_a_digest_answers_it() -> None:
    later = replace(notification(risk(0), "resolved"), thread=("own",), receipts=({"message_id": "batch"},))
    mail = render_mail(later, "f@example.org", "o@example.org")
    assert mail["In-Reply-To"] == "<batch@forewarn.invalid>"
