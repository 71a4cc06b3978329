"""Responses on a real PostgreSQL, with real commands and a real HTTP server: at most once, and only what was said."""

import dataclasses
import http.server
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alerter_stack import eventually, stack_on
from incident_records import LATENCY, at, failure, risk
from servers import free_port
from starlette.applications import Starlette
from starlette.testclient import TestClient
from typer.testing import CliRunner

from forewarn.alerting.webhook import verify
from forewarn.cli.responses import app as responses
from forewarn.config.settings import Settings
from forewarn.incidents.records import Incident
from forewarn.services.alerter.responding.responder import Responder
from forewarn.services.gateway.response_door import ResponseDoor
from forewarn.services.token_cache import TokenCache
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.feedback import PostgresFeedback, Silence
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.responses import NotPending, PostgresResponses, StoredResponse, acted_on
from forewarn.stores.schema import create_tables
from forewarn.stores.tokens import PostgresTokens

IDENTITY = "7a1d9c52-3f0e-4b8a-9c44-5d2f6a7b8c9d"
EPISODE = "5d0f62b7-6f8f-4a34-8a5e-1f6f3a2b9c11"
AT = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)
CLOCK = AT + timedelta(minutes=7)


def incident(
    entity: str = "shop/api", state: str = "predicted", identity: str = IDENTITY, version: int = 1
) -> Incident:
    return Incident(
        identity, version, state, "critical", f"{entity}: the pool reaches its limit", entity,
        "db.client.connections.usage", "connection_exhaustion", [EPISODE], AT, AT, None, None, [], [], "in 2 h",
    )  # fmt: skip


class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent; answers as `codes` say, then 200."""

    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        code = self.server.codes.pop(0) if self.server.codes else 200
        if code == 0:
            self.connection.close()
            return
        self.send_response(code)
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(b"done, password=hunter2 and top-secret")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.codes = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Bench:
    """A responder on a database, with a file and a connection to look with."""

    def __init__(self, url: str, home: Path, connection: psycopg.Connection[Any]) -> None:
        self.url, self.home, self.connection = url, home, connection
        self.path, self.out = home / "responses.yaml", home / "out"
        self.stored = PostgresResponses(connection)
        self.responder = self.another()

    def another(self, commands: bool = True) -> Responder:
        settings = Settings(
            postgres_url=self.url, home=self.home, responses=self.path, response_commands=commands,
            response_secrets={"hook-key": "k3y", "scaler": "top-secret"},
        )  # fmt: skip
        return Responder(settings, lambda name, number: None, every=0.05)

    def write(self, text: str) -> None:
        """The file, indented as it likes; a draft first, so that it is never seen half written."""
        draft = self.path.with_suffix(".new")
        draft.write_text(textwrap.dedent(text))
        draft.rename(self.path)

    def command(self, argv: list[str], more: str = "", top: str = "", name: str = "act") -> None:
        """A live response with a command."""
        self.write(
            f"{top}\nresponses:\n- name: {name}\n  match: {{entity: 'shop/*'}}\n  dry_run: false\n"
            f"  command: {{argv: {json.dumps(argv)}}}\n" + textwrap.indent(textwrap.dedent(more), "  ")
        )

    def put(self, *incidents: Incident) -> None:
        for one in incidents:
            PostgresIncidents(self.connection).put(one)

    def sweep(self) -> list[StoredResponse]:
        """Look once, and wait for what it began."""
        self.responder.sweep(self.connection)
        eventually(lambda: not self.responder._running)
        return self.all()

    def all(self) -> list[StoredResponse]:
        return sorted(self.stored.newest(), key=lambda row: row.proposed_at)

    def approve(self) -> StoredResponse:
        (row,) = [row for row in self.all() if row.status == "proposed"]
        return self.stored.decide(row.response_id, True, "mia")

    def audit(self, identity: str = IDENTITY) -> list[str]:
        return [f"{who} {what}: {why}" for who, what, why in PostgresAudit(self.connection).about(identity)]


@pytest.fixture(scope="module")
def database(postgres_server: str) -> str:
    """One for all of these tests: to make one takes longer than a test."""
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute("create database responses")
    url = psycopg.conninfo.make_conninfo(postgres_server, dbname="responses")
    create_tables(url)
    return url


@pytest.fixture
def bench(database: str, tmp_path: Path) -> Iterator[Bench]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "truncate responses, incidents, incident_history, incident_episodes, audit, silences, risks, outcomes,"
            " watermarks, consumer_offsets, outbox"
        )
        connection.execute("insert into watermarks values ('shop', %s) on conflict do nothing", (CLOCK,))
        made = Bench(database, tmp_path, connection)
        yield made
        made.responder.stop()


def test_a_command_runs_once_after_it_was_approved(bench: Bench) -> None:
    argv = [
        "/bin/sh",
        "-c",
        'echo "$0 $FOREWARN_MODE" >> "$1"; echo "told password=hunter2"',
        "{entity}",
        str(bench.out),
    ]
    bench.command(argv, "averts: true")
    bench.put(incident())
    (row,) = bench.sweep()
    assert (row.status, row.plan["argv"][3]) == ("proposed", "shop/api")
    assert bench.sweep()[0].status == "proposed" and not bench.out.exists()
    bench.approve()
    (row,) = bench.sweep()
    assert (row.status, row.outcome, row.decided_by) == ("succeeded", "exit status 0", "mia")
    assert "hunter2" not in row.output and "told password=" in row.output
    bench.sweep()
    assert bench.out.read_text() == "shop/api connection_exhaustion\n"
    bench.connection.execute("insert into incident_episodes values (%s, %s)", (EPISODE, IDENTITY))
    assert acted_on(bench.connection, [EPISODE]) == {EPISODE: CLOCK}
    told = bench.audit()
    assert [t.split(": ")[0] for t in told] == [
        "responses propose response", "mia approve response", "responses begin response",
        "responses succeeded response",
    ]  # fmt: skip


def test_two_approvals_and_two_responders_at_once_run_it_once(bench: Bench) -> None:
    bench.command(["/bin/sh", "-c", f"echo run >> {bench.out}; sleep 0.2"], "cooldown: 0s\nlimit: {runs: 100}")
    bench.put(incident())
    (row,) = bench.sweep()
    said: list[str] = []

    def approve(who: str) -> None:
        with psycopg.connect(bench.url) as connection:
            try:
                PostgresResponses(connection).decide(row.response_id, True, who)
                said.append(who)
            except NotPending as error:
                said.append(str(error))

    threads = [threading.Thread(target=approve, args=(f"user-{n}",)) for n in range(6)]
    others = [bench.another() for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.start()
    eventually(lambda: bench.all()[0].status == "succeeded")
    bench.sweep()
    for other in others:
        other.stop()
    assert bench.out.read_text() == "run\n"
    winners = [s for s in said if s.startswith("user-")]
    assert len(winners) == 1 and said.count(f"'act' is approved by {winners[0]} already") == 5


def test_killed_in_mid_run_it_is_unknown_and_not_run_again(bench: Bench) -> None:
    bench.command(["/bin/sh", "-c", f"echo run >> {bench.out}; exec sleep 8"], "approval: automatic\ncooldown: 0s")
    bench.put(incident())
    script = (
        "import threading; from forewarn.config.settings import Settings;"
        "from forewarn.services.alerter.responding.responder import Responder;"
        "Responder(Settings(), lambda name, number: None, every=0.05).start(); threading.Event().wait()"
    )
    environment = os.environ | {
        "FOREWARN_POSTGRES_URL": bench.url, "FOREWARN_HOME": str(bench.home), "FOREWARN_RESPONSES": str(bench.path),
        "FOREWARN_RESPONSE_COMMANDS": "true",
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: bench.out.exists() and bench.all()[0].status == "running")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    bench.responder.start()
    row = eventually(lambda: [r for r in bench.all() if r.status == "unknown"])[0]
    assert "look whether it was done" in row.outcome
    time.sleep(0.3)
    assert bench.out.read_text() == "run\n" and [r.status for r in bench.all()] == ["unknown"]


@pytest.mark.parametrize("entity", ["shop/$(touch pwned)", "shop/a;touch pwned", "shop/`touch pwned`", "shop/a\nb"])
def test_a_hostile_name_is_an_argument_and_nothing_else(bench: Bench, entity: str) -> None:
    bench.command(["/usr/bin/printf", "%s", "{entity}"], "approval: automatic")
    bench.write(bench.path.read_text().replace('/usr/bin/printf"', '/usr/bin/printf"', 1))
    bench.put(incident(entity))
    (row,) = bench.sweep()
    if "\n" in entity:
        assert (row.status, row.decided_by) == ("declined", "forewarn") and "control characters" in row.outcome
    else:
        assert (row.status, row.output) == ("succeeded", entity)


def test_a_name_that_looks_like_an_option_is_refused_and_said(bench: Bench) -> None:
    bench.command(["/usr/bin/printf", "%s", "{name}"], "approval: automatic")
    bench.put(incident("shop/--kubeconfig=x"))
    (row,) = bench.sweep()
    assert row.status == "declined" and "would take for an option" in row.outcome
    assert any("would take for an option" in line for line in bench.audit())


def test_rate_limits_and_cooldown_hold_and_release(bench: Bench) -> None:
    bench.command(["/bin/true"], "approval: automatic\ncooldown: 1h\nlimit: {runs: 2, per: 1h}")
    ids = [f"7a1d9c52-3f0e-4b8a-9c44-5d2f6a7b8c9{n}" for n in range(4)]
    bench.put(*(incident(f"shop/s{n}", identity=ids[n]) for n in range(3)))
    for _ in range(3):
        rows = bench.sweep()
    assert sorted(r.status for r in rows) == ["approved", "succeeded", "succeeded"]
    held = next(r for r in rows if r.status == "approved")
    assert held.held_for == "rate_limit" and "2 times in" in held.held_why
    bench.connection.execute(
        "update responses set started_at = started_at - interval '61 min' where ended_at is not null"
    )
    bench.sweep()
    assert [r.status for r in bench.sweep()] == ["succeeded"] * 3
    again = next(r.entity for r in bench.all())
    bench.put(incident(again, identity=ids[3]))
    rows = bench.sweep()
    assert (rows[-1].status, rows[-1].held_for) == ("approved", "cooldown")
    assert sum("hold response" in line for line in bench.audit(ids[3])) == 1


def test_the_limit_over_all_holds_too(bench: Bench) -> None:
    bench.command(["/bin/true"], "approval: automatic", top="limits: {runs: 1, per: 1h}")
    bench.put(incident("shop/a"), incident("shop/b", identity=EPISODE))
    bench.sweep()
    rows = bench.sweep()
    assert sorted(r.status for r in rows) == ["approved", "succeeded"]
    assert next(r for r in rows if r.held_for).held_why.startswith("all together may run 1 times")


def test_an_approval_that_expired_or_whose_incident_is_over_runs_nothing(bench: Bench) -> None:
    bench.command(["/usr/bin/touch", str(bench.out)])
    bench.put(incident())
    (row,) = bench.sweep()
    bench.connection.execute("update responses set expires_at = now() - interval '1 s'")
    with pytest.raises(NotPending, match="its time is up"):
        bench.stored.decide(row.response_id, True, "mia")
    (row,) = bench.sweep()
    assert (row.status, row.outcome) == ("expired", "nobody approved it in time")
    bench.put(incident("shop/b", identity=EPISODE))
    bench.sweep()
    bench.approve()
    bench.put(incident("shop/b", "resolved", EPISODE, 2))
    assert [r.status for r in bench.sweep()] == ["expired", "expired"] and not bench.out.exists()
    assert any("its incident is resolved" in line for line in bench.audit(EPISODE))


def test_a_dry_run_shows_and_does_nothing_then_the_live_one_is_asked_for(bench: Bench) -> None:
    bench.command(["/usr/bin/touch", str(bench.out)], "approval: automatic")
    bench.write(bench.path.read_text().replace("dry_run: false", "dry_run: true"))
    bench.put(incident())
    for _ in range(2):
        (row,) = bench.sweep()
    assert row.status == "dry_run" and row.plan["argv"][1] == str(bench.out) and not bench.out.exists()
    bench.write(bench.path.read_text().replace("dry_run: true", "dry_run: false"))
    assert [r.status for r in bench.sweep()] == ["dry_run", "succeeded"] and bench.out.exists()


def test_what_was_approved_is_what_is_run(bench: Bench) -> None:
    bench.command(["/usr/bin/touch", str(bench.out)])
    bench.put(incident())
    bench.sweep()
    bench.approve()
    bench.command(["/usr/bin/touch", str(bench.out) + "2"])
    rows = bench.sweep()
    assert [r.status for r in rows][:1] == ["superseded"]
    assert [r.status for r in bench.sweep()] == ["superseded", "proposed"]
    assert not list(bench.home.glob("out*"))
    # a plan that somebody wrote into the database is not run either
    bench.approve()
    bench.connection.execute(
        """update responses set plan = jsonb_set(plan, '{argv,1}', '"/tmp/x"') where status = 'approved'"""
    )
    assert bench.sweep()[1].status == "superseded" and not list(bench.home.glob("out*"))


def test_commands_are_off_unless_they_are_allowed(bench: Bench) -> None:
    bench.responder.stop()
    bench.responder = bench.another(commands=False)
    bench.command(["/usr/bin/touch", str(bench.out)], "approval: automatic")
    bench.put(incident())
    bench.sweep()
    (row,) = bench.sweep()
    assert (row.status, row.held_for) == ("approved", "commands_off") and not bench.out.exists()


def test_a_file_that_all_may_write_is_not_taken_up(bench: Bench) -> None:
    bench.command(["/bin/true"])
    bench.path.chmod(0o666)
    bench.put(incident())
    assert bench.sweep() == []
    bench.path.chmod(0o644)
    assert len(bench.sweep()) == 1


def test_a_silence_holds_what_acts_by_itself(bench: Bench) -> None:
    bench.command(["/bin/true"], "approval: automatic")
    now = datetime.now(UTC)
    silence = Silence(EPISODE, {"entity": "shop/api"}, now, now + timedelta(hours=1), "we work on it", "mia")
    PostgresFeedback(bench.connection).add_silence(silence)
    bench.put(incident())
    bench.sweep()
    assert [(r.status, r.held_for) for r in bench.sweep()] == [("approved", "silence")]
    PostgresFeedback(bench.connection).end_silence(EPISODE, datetime.now(UTC))
    assert bench.sweep()[0].status == "succeeded"


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (["/bin/sh", "-c", "echo no; exit 3"], "failed", "exit status 3"),
        (["/nowhere/act"], "failed", "could not be started"),
        (["/bin/sh", "-c", "trap '' TERM; sleep 60 & exec sleep 60"], "failed", "longer than 0.2 s"),
        (["/bin/sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x; echo end"], "succeeded", "exit status 0"),
    ],
)
def test_how_commands_end(
    bench: Bench, argv: list[str], status: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forewarn.services.alerter.responding.command.GRACE_SECONDS", 0.2)
    bench.command(argv, "approval: automatic")
    if "0.2" in said:
        bench.write(bench.path.read_text().replace("command: {", "command: {timeout: 200ms, "))
    bench.put(incident())
    (row,) = bench.sweep()
    assert row.status == status and said in row.outcome
    assert len(row.output) < 9000 and "top-secret" not in row.output
    assert ("bytes left out" in row.output and row.output.endswith("end")) == (status == "succeeded")


def webhook(bench: Bench, port: int, more: str = "") -> None:
    bench.write(
        f"""
        responses:
          - name: scale
            match: {{entity: shop/api}}
            dry_run: false
            approval: automatic
            webhook:
              url: http://127.0.0.1:{port}/scale
              headers: {{Authorization: {{secret: scaler, prefix: "Bearer "}}}}
              sign: hook-key
              timeout: 2s
              {more}
        """
    )


def test_a_webhook_is_signed_and_has_an_identity(bench: Bench, hook: Any) -> None:
    webhook(bench, hook.server_port)
    bench.put(incident())
    hook.codes = [429, 503]
    (row,) = bench.sweep()
    assert (row.status, row.outcome) == ("succeeded", "HTTP 200"), row
    (headers, body) = hook.got[-1]
    assert len(hook.got) == 3 and {h["Idempotency-Key"] for h, _ in hook.got} == {row.response_id}
    assert headers["Authorization"] == "Bearer top-secret"
    assert verify("k3y", body, headers["X-Forewarn-Signature"], time.time())
    told = json.loads(body)
    assert (told["response"], told["entity"], told["run"]) == ("scale", "shop/api", row.response_id)
    assert "top-secret" not in json.dumps(row.plan) + row.output and "hunter2" not in row.output


def test_a_webhook_that_may_have_acted_is_not_sent_again(bench: Bench, hook: Any) -> None:
    webhook(bench, hook.server_port, 'body: {text: "{entity} fails", labels: [{a: "{severity}"}]}')
    bench.put(incident())
    hook.codes = [0]
    (row,) = bench.sweep()
    assert row.status == "unknown" and "no answer came" in row.outcome and len(hook.got) == 1
    assert json.loads(hook.got[0][1]) == {"text": "shop/api fails", "labels": [{"a": "critical"}]}


def test_a_webhook_that_is_away_was_not_done(bench: Bench, hook: Any) -> None:
    webhook(bench, 9, "attempts: 2")  # nobody listens on the discard port
    bench.put(incident())
    (row,) = bench.sweep()
    assert row.status == "failed" and row.outcome.startswith("it was not reached: ConnectError")


def test_the_door_needs_a_token_that_may_act(bench: Bench) -> None:
    bench.command(["/bin/true"])
    bench.put(incident())
    (row,) = bench.sweep()
    tokens = {scope: PostgresTokens(bench.connection).create("bot", [scope], "mia")[1] for scope in ("read", "act")}
    settings = Settings(postgres_url=bench.url, home=bench.home)
    with TokenCache(bench.url, 0.05) as cache:
        door = TestClient(Starlette(routes=ResponseDoor(settings, cache).routes()))
        eventually(lambda: cache.known)
        address = f"/v1/responses/{row.response_id}"

        def post(what: str, token: str, body: str = "") -> tuple[int, Any]:
            answer = door.post(f"{address}/{what}", headers={"Authorization": f"Bearer {token}"}, content=body)
            return answer.status_code, answer.json()

        assert door.get("/v1/responses").status_code == 401
        assert post("approve", tokens["read"]) == (403, {"error": "this token may read; this door needs act"})
        assert post("approve", tokens["act"], "[1]")[0] == 400
        assert bench.all()[0].status == "proposed"
        status, told = post("approve", tokens["act"], '{"note": "as agreed"}')
        assert (status, told["status"], told["decided_by"], told["note"]) == (200, "approved", "token bot", "as agreed")
        assert post("decline", tokens["act"]) == (409, {"error": "'act' is approved by token bot already"})
        gone = door.get(f"/v1/responses/{EPISODE}", headers={"Authorization": f"Bearer {tokens['act']}"})
        assert gone.status_code == 404
    assert bench.sweep()[0].status == "succeeded"


def test_probability_and_condition_decide_whether_it_is_proposed(bench: Bench) -> None:
    one = risk(0, probability=0.7)
    PostgresLedger(bench.connection).add_risk(one)
    about = dataclasses.replace(incident("shop/db"), episodes=[one.episode], signal=one.signal)
    bench.put(about)
    bench.connection.execute("update watermarks set at = %s where namespace = 'shop'", (at(1),))
    for more, number in [
        ("min_probability: 0.8", 0), ("when: probability(any, 6h) > 0.9", 0), ("when: value('x') > 0", 0),
        ("min_probability: 0.7\nwhen: probability(any, 6h) > 0.5", 1),
    ]:  # fmt: skip
        bench.command(["/bin/true"], more)
        assert len(bench.sweep()) == number, more
    assert "the probability within 6 h is" in bench.all()[0].why


def test_the_alerter_proposes_runs_and_says_so_in_its_mails(bench: Bench, broker: str) -> None:
    bench.command(["/usr/bin/touch", str(bench.out)])
    stack = stack_on(
        broker, bench.url, free_port(), bench.home, responses=bench.path, response_commands=True, rules_seconds=9
    )
    bench.connection.execute("truncate watermarks")  # it is long past the horizon of what is sent
    stack.inbox.start()
    try:
        with stack.alerter():
            stack.send(risk(0, "shop/web", LATENCY))
            row = eventually(lambda: [r for r in bench.all() if r.entity == "shop/web"], 60)[0]
            bench.stored.decide(row.response_id, True, "mia")
            eventually(bench.out.exists, 60)
            eventually(lambda: bench.stored.get(row.response_id).status == "succeeded", 60)  # type: ignore[union-attr]
            stack.send(failure(30, "shop/web", LATENCY))

            def told() -> list[str]:  # the broker holds what other tests left, too
                texts = [str(m.get_body(("plain",)).get_content()) for m in stack.inbox.mails]  # type: ignore[union-attr]
                return [text for text in texts if "It has failed" in text and "shop/web" in text]

            (text, *_) = eventually(told, 60)
    finally:
        stack.inbox.stop()
    assert "The response 'act' was done at" in text


def test_the_command_line_shows_lists_and_decides(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", bench.url)
    monkeypatch.setenv("FOREWARN_HOME", str(bench.home))
    monkeypatch.setenv("FOREWARN_RESPONSES", str(bench.path))
    monkeypatch.setenv("FOREWARN_RESPONSE_COMMANDS", "true")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(responses, arguments)
        return result.output + str(result.exception or "")

    assert "no responses yet" in run("list")
    bench.command(["/bin/echo", "{entity}"], "cooldown: 1h")
    bench.put(incident(), incident("shop/b", identity=EPISODE))
    assert "act: proposed" in (output := run("test", "--incident", IDENTITY)) and "/bin/echo shop/api" in output
    first, second = bench.sweep()
    assert first.response_id[:8] in (output := run("list", "--status", "proposed")) and "shop/b" in output
    about = {row.incident_id: row.response_id for row in (first, second)}
    assert "declined 'act' for shop/b" in run("decline", about[EPISODE][:8], "--note", "not now")
    assert "approved 'act' for shop/api; it begins" in run("approve", about[IDENTITY])
    assert "'act' is approved by" in run("decline", about[IDENTITY])
    assert "there is no response nonsense" in run("approve", "nonsense")
    assert sorted((row.status, row.note) for row in bench.sweep()) == [("declined", "not now"), ("succeeded", "")]
    assert '"status": "succeeded"' in run("list", "--json")
    bench.put(incident(identity="7a1d9c52-3f0e-4b8a-9c44-5d2f6a7b8c90"))
    assert "it would wait (cooldown)" in run("test", "--incident", "7a1d9c52-3f0e-4b8a-9c44-5d2f6a7b8c90")
