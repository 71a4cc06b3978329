"""`forewarn responses`: what is wrong is said at its place, a test shows all of it and does nothing."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from forewarn.cli.app import app

GOOD = """
responses:
  - name: scale
    match: {entity: "shop/*"}
    webhook:
      url: https://scaler.example.org/scale
      headers: {Authorization: {secret: scaler, prefix: "Bearer "}}
      body: {service: "{name}", by: 2}
  - name: restart
    match: {mode: disk_full}
    command: {argv: [/bin/echo, --, "{name}"], env: {TOKEN: {secret: token}}}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))
    monkeypatch.setenv("FOREWARN_RESPONSE_SECRETS", '{"scaler": "s3cret-of-scaler"}')

    def invoke(command: str, text: str, *arguments: str) -> tuple[int, str]:
        path = tmp_path / "responses.yaml"
        path.write_text(text)
        result = CliRunner().invoke(app, ["responses", command, str(path), *arguments])
        return result.exit_code, result.output + str(result.exception or "")

    return invoke


def test_check_says_how_far_each_goes_and_what_is_missing(run: Any) -> None:
    status, output = run("check", GOOD)
    assert status == 0
    assert "scale (webhook, dry run): entity=shop/*" in output
    assert "there is no secret 'token'" in output and "there is no secret 'scaler'" not in output
    assert "commands are off" in output and "the file can be used: 2 responses" in output


def test_test_shows_exactly_what_would_be_sent_without_secrets(run: Any) -> None:
    status, output = run("test", GOOD, "--entity", "shop/pay")
    assert status == 0
    assert '{"service":"pay","by":2}' in output and "Authorization: Bearer <secret scaler>" in output
    assert "restart: not proposed: it does not match mode=disk_full" in output
    assert "/bin/echo -- pay" in output and "FOREWARN_ENTITY=shop/pay" in output
    assert "s3cret-of-scaler" not in output
    assert "which a program would take for an option" in run("test", GOOD, "--entity", "shop/-rf")[1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("/bin/echo, --,", "/bin/sh, -c,", "11:14: responses.1.command: argv: 'sh' would run what the placeholder"),
        ("/bin/echo, --,", "/usr/bin/sudo, /bin/bash, -lc,", "'bash' would run what"),
        ("/bin/echo, --,", "/usr/bin/python3, -m,", "'python3' would run what"),
        ("/bin/echo, --,", "/usr/bin/env,", "'env' would run what"),
        ("/bin/echo, --,", "/usr/bin/ssh, host,", "hands its arguments to a shell"),
        ("/bin/echo", "echo", "must be the whole path of a program"),
        ('"{name}"]', '"--on={name}"]', "{name} must stand alone, not inside '--on={name}'"),
        ('"{name}"]', '"{nam}"]', "there is no placeholder '{nam}'"),
        ("{secret: token}", '"{name}"}, cwd: relative, x: {a: b', "responses.1.command"),
        ("env: {TOKEN: {secret: token}}", 'env: {LD_PRELOAD: "{name}"}', "decides what is run"),
        ("https://scaler", "https://{name}.scaler", "url: write http:// or https://, without placeholders"),
        ("{secret: scaler,", "{secret: My Secret!,", "the secret itself is never written here"),
        ("mode: disk_full", "mood: disk_full", "10:19: responses.1.match.mood: there is no label 'mood': did you mean"),
        ("name: restart", "name: scale", "there is a response 'scale' already, number 1"),
        ("  - name: restart", "    when: value(\n  - name: restart", "responses.0.when"),
        ("{mode: disk_full}", "{}", "responses.1.match"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(run: Any, old: str, new: str, said: str) -> None:
    assert old in GOOD
    status, output = run("check", GOOD.replace(old, new, 1))
    assert status == 1
    assert said in output
