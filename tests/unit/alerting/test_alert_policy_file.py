"""The alerting file: what it may say, and line and column of what it may not."""

from datetime import timedelta
from pathlib import Path

import pytest

from forewarn.alerting.defaults import default_policy
from forewarn.alerting.policy_file import PolicyError, parse_policy
from forewarn.alerting.registry import missing_settings
from forewarn.config.settings import Settings

GOOD = """\
channels:
  chat: {kind: slack, to: "#ops", rate_limit: {messages: 20, per: 1h, digest_every: 5m}}
  pager: {kind: pagerduty, secret: team-a}
  mail: {kind: email}
labels:
  - match: {entity: "shop/*"}
    set: {team: checkout}
route:
  channels: [chat]
  group_wait: 10s
  routes:
    - name: checkout
      match: {team: checkout}
      group_by: [namespace, mode]
      continue: true
      routes:
        - match: {severity: critical}
          channels: [pager, chat]
          escalate: [{after: 15m, to: [mail]}]
    - match: {entity: "~shop/(db|cache)"}
      channels: [mail]
      repeat_interval: 4h
working_hours: {timezone: Europe/Berlin, from: 09:00, until: 17:30, holidays: [2026-12-25]}
maintenance:
  - {name: backup, match: {entity: shop/db}, timezone: Europe/Berlin, starts: 2026-01-04 01:00, until: 04:00,
     rrule: FREQ=WEEKLY}
fix_times: {disk_full: 2h}
"""


def wrong(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "a.yaml")
    return str(caught.value)


def test_the_example_of_the_manual_can_be_used() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "alerting.md").read_text()
    policy = parse_policy(manual.split("```yaml\n", 1)[1].split("```", 1)[0])
    (route,) = policy.routes_of({**policy.own_labels("shop/checkout-api"), "severity": "critical"})
    assert route.channels == ("chat", "checkout-pager")


def test_a_route_inherits_what_it_does_not_say() -> None:
    policy = parse_policy(GOOD)
    labels = {"entity": "shop/db", "severity": "critical", **policy.own_labels("shop/db")}
    deep, mail = policy.routes_of(labels)
    assert deep.path == "route.checkout.0" and deep.channels == ("pager", "chat")
    assert deep.group_wait == timedelta(seconds=10) and deep.group_by == ("namespace", "mode")
    assert (mail.channels, mail.repeat_interval, mail.escalate) == (("mail",), timedelta(hours=4), ())
    assert deep.match == {"team": "checkout", "severity": "critical"}


def test_what_no_route_takes_is_taken_by_the_first() -> None:
    policy = parse_policy(GOOD)
    (route,) = policy.routes_of({"entity": "billing/api", "severity": "critical"})
    assert route.path == "route" and route.channels == ("chat",)
    (route,) = policy.routes_of({"entity": "shop/web", "severity": "warning", "team": "checkout"})
    assert route.path == "route.checkout", "without a child that fits, the route itself"


def test_times_of_day_and_dates_stay_what_was_written() -> None:
    policy = parse_policy(GOOD)
    assert policy.working_hours is not None and policy.working_hours.end == "17:30"
    assert policy.maintenance[0].window().timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("channels: [chat]", "channels: [chta]", "a.yaml:9:14: route.channels.0: there is no channel 'chta': did"),
        ("kind: email", "kind: mail", "a.yaml:4:16: channels.mail.kind: Input should be"),
        ("group_wait: 10s", "group_wait: soon", "a.yaml:10:15: route.group_wait: 'soon' is no duration: write 30s"),
        ("group_wait: 10s", "grup_wait: 10s", "a.yaml:10:14: route.grup_wait: this is not known here"),
        ("{team: checkout}\n      g", "{taem: checkout}\n      g", "there is no label 'taem': did you mean 'team'?"),
        ("secret: team-a", "secret: R0UT1NG/KEY", "the secret itself is never written here"),
        ("to: [mail]", "to: []", "a.yaml:19:39: route.routes.0.routes.0.escalate.0.to: "),
        ("Europe/Berlin, from", "Europe/Berln, from", "is no time zone"),
        ("until: 17:30", "until: 08:00", "'from' must be before 'until'"),
        ("FREQ=WEEKLY", "FREQ=SOMETIMES", "a.yaml:25:5: maintenance.0: rrule: 'FREQ=SOMETIMES' cannot be read"),
        ("~shop/(db|cache)", "~shop/(db|cache", "is no regular expression"),
        ("  mail:", "  mail: {kind: console}\n  mail:", "a.yaml:5:3: channels.mail: this is written already in line 4"),
        ("route:\n", "route:\n  match: {severity: critical}\n", "the first route must take everything"),
        ("  pager: {kind", "  pager: [kind", "this is no YAML"),
        ("kind: email", 'kind: alertmanager, url: "http://am:909x"', "mail.url: this is no address: Invalid port"),
        ("kind: email", "kind: webhook, url: example.org", "channels.mail.url: this is no address: write one such as"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert said in wrong(GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("value", "place", "said"),
    [
        ("!critical ", "17:29", "the tag '!critical': a text that begins with '!' needs quotes"),
        ("[!info , warning]", "17:30", "the tag '!info': a text that begins with '!' needs quotes"),
        ("{{ severity }}", "17:30", "found unhashable key"),
        ("!!int x-secret", "1:1", "a value does not fit its tag"),
        ("!!timestamp x", "1:1", "a value does not fit its tag"),
        ("!!bool x", "1:1", "a value does not fit its tag"),
        ("&again [*again]", "1:1", "it is nested too deeply, or in itself"),
    ],
)
def test_tags_templates_and_what_is_nested_in_itself_are_wrong_as_other_mistakes_are(
    value: str, place: str, said: str
) -> None:
    line = wrong(GOOD.replace("severity: critical", f"severity: {value}"))
    assert line.startswith(f"a.yaml:{place}: this is no YAML: ") and line.endswith(said)


def test_what_is_quoted_is_no_tag() -> None:
    policy = parse_policy(GOOD.replace("severity: critical", 'severity: "!info"'))
    assert policy.route.routes[0].routes[0].match == {"severity": "!info"}


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_lines() -> None:
    said = wrong(GOOD.replace("group_wait: 10s", "group_wait: 1x").replace("kind: email", "kind: fax")).splitlines()
    assert [line.split(":")[1] for line in said] == ["4", "10"]


@pytest.mark.parametrize("text", ["", "[]", "channels: {}", "channels: {c: {kind: console}}"])
def test_what_is_not_there_is_missed(text: str) -> None:
    assert wrong(text)


def test_a_secret_that_is_written_into_the_file_is_not_repeated() -> None:
    said = wrong(GOOD.replace("secret: team-a", "secret: xoxb-1234-SECRET"))
    assert "SECRET" not in said.replace("FOREWARN_ALERTING_SECRETS", "")


def test_an_address_of_the_settings_that_cannot_be_used_is_said_of_its_channel() -> None:
    settings = Settings.model_validate({"alertmanager_url": "http://am:909x"})
    policy = parse_policy("channels: {am: {kind: alertmanager}}\nroute: {channels: [am]}")
    assert missing_settings(policy, settings) == ["channel 'am': Invalid port: '909x'"]


def test_without_a_file_what_is_configured_is_used() -> None:
    bare = default_policy(Settings(smtp_host=None))
    assert list(bare.channels) == ["console"]
    settings = Settings.model_validate(
        {"smtp_host": "mx", "pagerduty_routing_key": "k", "slack_bot_token": "t", "slack_webhook_url": "https://x",
         "alertmanager_url": "http://am", "webhook_url": "http://w"}
    )  # fmt: skip
    policy = default_policy(settings)
    (warning,) = policy.routes_of({"severity": "warning"})
    (critical,) = policy.routes_of({"severity": "critical"})
    assert warning.channels == ("console", "email", "slack", "webhook", "alertmanager")
    assert critical.channels == (*warning.channels, "pagerduty")
