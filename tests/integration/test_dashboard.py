"""The dashboard in a real browser, on a real PostgreSQL: live, inert to hostile text, honest when things are away."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from dashboard_state import NOW, add_incident, add_risk, fill, incident_of, risk
from servers import free_port, wait_for_port

from forewarn.incidents.records import Incident
from forewarn.stores.incident_causes import LocatedCauses, PostgresIncidentCauses, RankedCause
from forewarn.stores.schema import create_tables
from panel_app.access import hashed

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = '<script>window.pwned=1</script><img src=x onerror="window.pwned=1">\'"&'
pytestmark = pytest.mark.browser
if not CHROMIUM.exists():
    pytest.skip("needs a system Chromium: apt-get install chromium", allow_module_level=True)

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright  # noqa: E402


class Dashboard:
    """A dashboard process on a database of its own."""

    def __init__(self, postgres_url: str, home: Path, **more: str) -> None:
        self.postgres_url, self.home, self.port = postgres_url, home, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {"POSTGRES_URL": postgres_url, "HOME": str(home), "DASHBOARD_PORT": str(self.port)} | more
        self.environment = os.environ | {f"FOREWARN_{k}": v for k, v in settings.items()}
        self.process = self.start()
        try:
            wait_for_port(self.port, 240)
        except TimeoutError:
            self.process.kill()
            raise

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "panel_app"], env=self.environment, stderr=subprocess.PIPE, text=True
        )

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=15)
        return self.process.returncode, log


def database(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"create database {name}")
    return psycopg.conninfo.make_conninfo(server, dbname=name)


@pytest.fixture(scope="module")
def dashboard(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    url, home = database(postgres_server, "dashboard_full"), tmp_path_factory.mktemp("home")
    fill(url, home)
    running = Dashboard(url, home)
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.fixture(scope="module")
def incident(dashboard: Dashboard) -> Incident:
    return incident_of(risk("connection_exhaustion", NOW - timedelta(hours=2), 4.4))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module", autouse=True)
def patience() -> None:
    expect.set_options(timeout=30_000)  # a page is live some time after it is there


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(timezone_id="Asia/Kolkata", locale="en-GB")
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    yield opened
    context.close()


def test_now_shows_what_fails_when_and_where(dashboard: Dashboard, page: Page) -> None:
    errors: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("request", lambda r: asked.append(r.url))
    page.goto(dashboard.url)
    expect(page.locator(".headline h1")).to_contain_text("reaches its limit in 2.1 h")
    expect(page.locator(".map .node")).to_have_count(6)
    expect(page.locator(".map .node.is-critical")).to_contain_text("fails in 2.1 h")
    expect(page.locator(".events")).to_contain_text("deployed api 2.14.0")
    expect(page.locator(".reasons")).to_contain_text("too little history")
    # Times stand in the reader's zone: 14:30 UTC is 20:00 in Kolkata.
    clocks = page.locator(".clocks fw-time").evaluate_all("all => all.map(e => e.shadowRoot.textContent)")
    assert any("20:00:00" in clock for clock in clocks), clocks
    assert errors == []
    assert [u for u in asked if not u.startswith((dashboard.url, "data:", "blob:"))] == []


def test_a_new_incident_appears_without_reload_and_leaves_focus_alone(dashboard: Dashboard, page: Page) -> None:
    page.goto(dashboard.url)
    link = page.locator("#h-incidents ~ .scroll a.cover").first
    link.focus()
    page.evaluate("window.untouched = true")
    page.wait_for_selector("html.loaded", state="attached", timeout=60_000)  # the page was there before it is live
    fresh = risk("queue_backlog", NOW - timedelta(minutes=1), 1.0)
    with psycopg.connect(dashboard.postgres_url) as db:
        add_risk(db, fresh)
        add_incident(db, incident_of(fresh, severity="warning", title="shop/worker: queue is filling"))
    expect(page.locator("main")).to_contain_text("queue is filling", timeout=30_000)  # how fast: a benchmark
    assert page.evaluate("window.untouched") is True
    focused = "(() => { let a = document.activeElement; while (a.shadowRoot) a = a.shadowRoot.activeElement; "
    assert page.evaluate(focused + "return a && a.className })()") == "cover"


def test_a_risk_is_opened_by_keyboard_and_answered(dashboard: Dashboard, page: Page, incident: Incident) -> None:
    page.goto(dashboard.url)
    page.locator(f"a.cover[href$='{incident.incident_id}']").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/risk?incident={incident.incident_id}")
    expect(page.locator(".countdown .big")).to_have_text("2.1 h")
    expect(page.locator(".waterfall li")).to_have_count(3)
    expect(page.locator(".countdown")).to_contain_text("like this came true here")
    expect(page.locator("canvas").nth(2)).to_be_visible()
    page.get_by_text("I acted…").click()
    page.get_by_label("What did you do?").fill("raised <b>the pool</b> to 140")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".answers")).to_contain_text("acted: raised <b>the pool</b> to 140")
    with psycopg.connect(dashboard.postgres_url) as db:
        stored = db.execute("select incident_id::text, verdict, note from feedback").fetchall()
    assert stored == [(incident.incident_id, "averted", "raised <b>the pool</b> to 140")]


def test_the_ledger_shows_misses_and_false_alarms_as_large_as_hits(dashboard: Dashboard, page: Page) -> None:
    page.goto(f"{dashboard.url}/ledger")
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(7)
    shown = dict(zip(tiles.locator("span").all_inner_texts(), tiles.locator("b").all_inner_texts(), strict=True))
    assert {k: shown[k] for k in ("Hits", "Late", "False alarms", "Misses")} == {
        "Hits": "17",
        "Late": "2",
        "False alarms": "4",
        "Misses": "2",
    }
    sizes = {name: page.locator(f".tile.o-{name} b").bounding_box() for name in ("hit", "miss", "expired")}
    assert len({box["height"] for box in sizes.values() if box}) == 1
    page.locator("a.cover").first.click()
    page.wait_for_url("**/risk?episode=*")
    expect(page.locator(".countdown")).to_contain_text("Outcome")


def test_models_and_data_show_their_tables_and_the_report(dashboard: Dashboard, page: Page) -> None:
    page.goto(f"{dashboard.url}/models")
    expect(page.locator(".headline")).to_contain_text("failure_model:2026-03-12.1 serves.")
    expect(page.frame_locator("iframe").locator("h1")).to_have_text("Data drift")
    page.goto(f"{dashboard.url}/data")
    expect(page.locator(".headline")).to_contain_text("archiver")
    expect(page.locator(".process")).to_have_count(5)
    expect(page.get_by_text("Stopped arriving")).to_be_visible()


def test_a_risk_shows_queries_causes_and_past_incidents(dashboard: Dashboard, page: Page, incident: Incident) -> None:
    page.goto(f"{dashboard.url}/risk?incident={incident.incident_id}")
    expect(page.get_by_role("button", name="Copy the query").first).to_be_visible()
    expect(page.locator(".suspects > li").first).to_contain_text("shop/checkout-db")
    expect(page.locator("main")).to_contain_text("Similar past incidents")
    page.goto(dashboard.url)
    page.locator("#h-filling ~ .scroll a.cover").click()
    page.wait_for_url("**/risk?episode=*")
    expect(page.locator("#h-capacity")).to_be_visible()
    expect(page.locator("main")).to_contain_text("not within 7 d")


def test_a_response_is_approved_and_a_silence_made_and_ended(
    dashboard: Dashboard, page: Page, incident: Incident
) -> None:
    plan = {"kind": "command", "argv": ["/bin/scale", "api"], "env": {}, "cwd": "/", "timeout_seconds": 9}
    with psycopg.connect(dashboard.postgres_url) as db:
        db.execute(
            "insert into responses (response_id, response, kind, incident_id, entity, status, automatic, averts, plan,"
            " facts, why, expires_at) values (gen_random_uuid(), 'scale out', 'command', %s, 'shop/api', 'proposed',"
            " false, false, %s, '{}', 'the pool', now() + interval '1 h')",
            (incident.incident_id, json.dumps(plan)),
        )
    page.goto(f"{dashboard.url}/risk?incident={incident.incident_id}")
    expect(page.locator("article.response pre")).to_contain_text("/bin/scale api")
    expect(page.locator("canvas").nth(2)).to_be_visible(timeout=60_000)
    page.get_by_text("Approve…").click()
    form = page.locator("form[data-action=approve]")
    form.get_by_label("Your name").fill("mia")
    form.get_by_role("button").click()
    expect(page.locator("main")).to_contain_text("'scale out' is approved and begins now.", timeout=60_000)
    expect(page.locator("article.response")).to_contain_text("approved by mia", timeout=60_000)
    page.get_by_text("Silence…").click()
    form = page.locator("form[data-action=silence]")
    form.get_by_label("Why").fill("we work on it")
    form.get_by_role("button").click()
    expect(page.locator("main")).to_contain_text("Nobody is told until", timeout=60_000)
    page.locator("form[data-action=end-silence] button").click()
    expect(page.locator("main")).to_contain_text("The silence is over.", timeout=60_000)
    with psycopg.connect(dashboard.postgres_url) as db:
        assert db.execute("delete from responses returning status, decided_by").fetchall() == [("approved", "mia")]
        found = db.execute("delete from silences where reason = 'we work on it' returning matcher, ends_at <= now()")
        assert found.fetchall() == [({"entity": "shop/api", "mode": "connection_exhaustion"}, True)]


def test_the_timeline_keeps_its_filters_in_the_address(dashboard: Dashboard, page: Page) -> None:
    page.goto(f"{dashboard.url}/timeline?span=30d")
    expect(page.locator(".events li").first).to_be_visible()
    page.get_by_label("Entity").fill("shop/payment")
    for kind in ("incidents", "predictions", "anomalies", "deploys", "not judged"):
        page.get_by_label(kind).uncheck()
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/timeline?*kind=failure*")
    expect(page.locator(".events li").first).to_be_visible()
    assert set(page.locator(".events b").all_inner_texts()) == {"shop/payment"}
    assert set(page.locator(".events .kind").all_inner_texts()) == {"failed"}
    page.locator(".events a").first.click()
    page.wait_for_url("**/risk?*")
    page.goto(f"{dashboard.url}/timeline?entity=nobody")
    expect(page.locator("main")).to_contain_text("Nothing fits these filters.")


def test_silences_are_made_and_ended_and_a_test_is_sent(dashboard: Dashboard, page: Page) -> None:
    page.goto(f"{dashboard.url}/settings")
    page.get_by_text("New silence…").click()
    page.get_by_label("Entity").fill("shop/cache")
    page.get_by_label("Why").fill("planned work")
    page.get_by_label("Your name").fill("Mia")
    page.get_by_role("button", name="Silence", exact=True).click()
    expect(page.locator(".banner.good")).to_contain_text("Nobody is told of entity=shop/cache for 2h.")
    page.get_by_role("button", name="End the silence of entity=shop/cache").click()
    expect(page.locator(".banner.good")).to_contain_text("The silence is over.")
    page.get_by_role("button", name="Send a test to console").click()
    expect(page.locator(".banner.good")).to_contain_text("console took a test message", timeout=30_000)
    with psycopg.connect(dashboard.postgres_url) as db:
        done = db.execute("select actor, action from audit where actor in ('Mia', 'dashboard') order by audit_id")
        told = [("Mia", "silence"), ("dashboard", "end silence"), ("dashboard", "test channel")]
        assert done.fetchall()[-3:] == told
        assert db.execute("select ends_at <= now() from silences where author = 'Mia'").fetchone() == (True,)


def test_readers_see_and_editors_change(dashboard: Dashboard, page: Page, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"mia:editor:{hashed('correct-horse')}\nron:reader:{hashed('battery-staple')}\n")
    running = Dashboard(dashboard.postgres_url, dashboard.home, DASHBOARD_USERS=str(users))
    try:
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{running.url}/reports/11111111-1111-1111-1111-111111111111")
        page.goto(f"{running.url}/settings")
        for password, ends in (("wrong", "/login"), ("battery-staple", "/settings")):
            page.get_by_label("Name").fill("ron")
            page.get_by_label("Password").fill(password)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(f"**{ends}*")
        expect(page.locator("#h-channels")).to_be_visible()
        expect(page.get_by_role("button", name="Send a test to console")).to_be_hidden()
        submit = "form => form.requestSubmit()"  # what is hidden can still be sent by hand
        page.locator("form[data-action=test]").first.evaluate(submit)
        expect(page.locator(".banner")).to_contain_text("You may read this, not answer or change it")
        page.goto(f"{running.url}/logout")
        page.wait_for_url("**/login*")
    finally:
        running.process.kill()
        running.process.communicate()


def test_beyond_this_machine_it_is_not_served_without_sign_in(dashboard: Dashboard) -> None:
    environment = dashboard.environment | {"FOREWARN_BIND_HOST": "0.0.0.0", "FOREWARN_DASHBOARD_PORT": "0"}
    refused = subprocess.run(
        [sys.executable, "-m", "panel_app"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode == 1 and "FOREWARN_DASHBOARD_USERS" in refused.stderr


def test_hostile_names_and_logs_are_inert(dashboard: Dashboard, page: Page) -> None:
    entity = f"shop/{HOSTILE}"
    evil = risk("disk_full", NOW, 1.5, entity=entity, signal=HOSTILE, evidence=[HOSTILE])
    evil = replace(
        evil, mode=HOSTILE, actions=[replace(evil.actions[0], text=HOSTILE, link="javascript:window.pwned=1")]
    )
    evil = replace(evil, drivers=[replace(evil.drivers[0], text=HOSTILE, query=HOSTILE)])
    case = incident_of(evil, title=HOSTILE, summary=HOSTILE)
    with psycopg.connect(dashboard.postgres_url) as db:
        add_risk(db, evil)
        add_incident(db, case)
        db.execute("insert into service_edges values ('shop/api', %s, 5, 1, now())", (entity,))
        db.execute("insert into abstentions values (%s, %s, %s, %s)", (entity, HOSTILE, HOSTILE, NOW))
        deploy = json.dumps({"event.name": "deployment"})
        values = (NOW - timedelta(minutes=2), entity, HOSTILE, deploy)
        db.execute("insert into log_records values (%s, %s, 'INFO', %s, %s)", values)
        db.execute(
            "insert into audit (actor, action, subject, reason) values (%s, %s, %s, %s)",
            (HOSTILE, "x", HOSTILE, HOSTILE),
        )
        db.execute("insert into anomalies values (%s, %s, null, 0.01, %s, '[]')", (entity, NOW, HOSTILE))
        db.execute(
            "insert into smoke_results (run_id, model_version, entity, kind, injected, detected)"
            " values (gen_random_uuid(), %s, %s, %s, 9, 1)",
            (HOSTILE, entity, HOSTILE),
        )
        matcher = json.dumps({"entity": HOSTILE})
        db.execute(
            "insert into silences values (gen_random_uuid(), %s, now(), now() + interval '1 h', %s, %s)",
            (matcher, HOSTILE, HOSTILE),
        )
        PostgresIncidentCauses(db).put(
            LocatedCauses(case.incident_id, "prediction", "other", HOSTILE,
                          [RankedCause(HOSTILE, 0.5, [HOSTILE], [HOSTILE])], NOW, NOW, 1.0)
        )  # fmt: skip
    try:
        for path in (
            "",
            f"risk?incident={case.incident_id}",
            "timeline?span=1d",
            "ledger",
            "models",
            "data",
            "settings",
        ):
            page.goto(f"{dashboard.url}/{path}")
            expect(page.locator("#loading")).to_be_hidden()
            page.wait_for_timeout(200)
            assert page.evaluate("window.pwned") is None, path
            assert page.locator("a[href^='javascript']").count() == 0
            if path not in ("ledger",):
                expect(page.locator("main")).to_contain_text("<script>window.pwned=1</script>")
    finally:
        with psycopg.connect(dashboard.postgres_url) as db:
            db.execute("delete from incidents where incident_id = %s", (case.incident_id,))
            db.execute("delete from service_edges where server = %s", (entity,))
            db.execute("delete from abstentions where entity = %s", (entity,))
            db.execute("delete from anomalies where entity = %s", (entity,))
            db.execute("delete from smoke_results where entity = %s", (entity,))
            db.execute("delete from silences where author = %s", (HOSTILE,))


def test_a_page_is_sent_with_its_content_and_what_is_sent_early_waits(
    dashboard: Dashboard, browser: Browser, incident: Incident
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    address = f"{dashboard.url}/risk?incident={incident.incident_id}"
    for _ in range(20):  # on a busy machine the answer may not come within the moment that a page waits for it
        page.goto(address)
        if page.locator(".countdown .big").count():
            break
    expect(page.locator(".countdown .big")).to_have_text("2.1 h")
    context.close()
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url))
    held: list[Route] = []
    page.route("**/panel.min.js*", lambda route: held.append(route))
    page.goto(address, wait_until="commit")
    page.get_by_role("button", name="Confirm").first.click()  # before the page is live
    expect(page.locator("form[data-early]")).to_have_count(1)
    for route in held:
        route.continue_()
    page.unroute("**/panel.min.js*")
    expect(page.locator(".answers")).to_contain_text("confirmed", timeout=30_000)
    page.wait_for_selector("html.loaded", state="attached")
    assert [u for u in asked if not u.startswith((dashboard.url, "data:", "blob:"))] == []
    context.close()


def test_a_reader_who_goes_on_while_the_page_comes_alive_is_not_taken_back(dashboard: Dashboard, page: Page) -> None:
    held: list[Route] = []
    page.route("**/panel.min.js*", lambda route: held.append(route))
    page.goto(f"{dashboard.url}/settings", wait_until="commit")
    page.get_by_text("New silence…").click()
    page.get_by_label("Why").focus()
    page.evaluate("""() => {
      const box = document.querySelector("[data-piece=silences]")
      const [why, name] = box.querySelectorAll("[name=reason], [name=author]")
      window.steps = [document.activeElement === why]
      new MutationObserver(() => { name.focus(); window.steps.push(name.matches(":focus")) })
        .observe(box, { attributeFilter: ["data-piece"] }) // is taken away when the page goes on with the box
    }""")
    for route in held:
        route.continue_()
    page.unroute("**/panel.min.js*")
    page.wait_for_selector("html.loaded", state="attached")
    page.wait_for_function("window.steps.length === 2")
    page.wait_for_timeout(200)
    assert page.evaluate("window.steps") == [True, True]
    page.keyboard.insert_text("Mia")
    expect(page.get_by_label("Your name")).to_have_value("Mia")
    expect(page.get_by_label("Why")).to_have_value("")


def test_the_theme_is_switched_by_keyboard_and_remembered(dashboard: Dashboard, page: Page) -> None:
    page.goto(dashboard.url)
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "light"
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"{theme} === 'dark'")
    page.goto(f"{dashboard.url}/ledger")
    assert page.evaluate(theme) == "dark"


def test_an_unknown_incident_says_what_to_do(dashboard: Dashboard, page: Page) -> None:
    for query in ("incident=11111111-1111-1111-1111-111111111111", "incident=nonsense'--", ""):
        page.goto(f"{dashboard.url}/risk?{query}")
        expect(page.locator("main")).to_contain_text("There is no such prediction.")


def test_reports_stay_inside_home_and_in_a_sandbox(dashboard: Dashboard) -> None:
    (dashboard.home.parent / "secret.html").write_text("secret")
    with psycopg.connect(dashboard.postgres_url) as db:
        good, bad = (
            db.execute(
                "insert into reports values (gen_random_uuid(), 'drift', now() - interval '1 d', '{}', %s)"
                " returning report_id",
                (path,),
            ).fetchone()[0]  # type: ignore[index]
            for path in ("reports/drift.html", "../secret.html")
        )
    with urllib.request.urlopen(f"{dashboard.url}/reports/{good}") as answer:
        assert answer.headers["Content-Security-Policy"] == "sandbox allow-scripts"
    for address in (bad, "11111111-1111-1111-1111-111111111111", "../../etc/passwd"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{dashboard.url}/reports/{address}")
        assert refused.value.code == 404


def test_a_foreign_page_may_not_open_the_socket(dashboard: Dashboard) -> None:
    def status(origin: str) -> bytes:
        request = (
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{dashboard.port}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", dashboard.port), 5) as s:
            s.sendall(request.encode())
            return s.recv(64).split()[1]

    assert status("http://evil.example") == b"403"
    assert status(dashboard.url) != b"403"


def test_a_second_dashboard_says_that_the_port_is_taken(dashboard: Dashboard) -> None:
    second = dashboard.start()
    _, log = second.communicate(timeout=30)
    assert second.returncode == 1
    assert "FOREWARN_DASHBOARD_PORT" in log


def test_empty_then_away_then_back_then_stopped(postgres_server: str, page: Page, tmp_path: Path) -> None:
    url = database(postgres_server, "dashboard_empty")
    create_tables(url)
    running = Dashboard(url, tmp_path)
    try:
        for path, said in {
            "ledger": "Nothing has been resolved yet.",
            "models": "No model serves yet.",
            "data": "Nothing has been archived yet.",
            "timeline": "appear here when they come",
            "settings": "No silence is on",
            "": "No telemetry has arrived yet.",
        }.items():
            page.goto(f"{running.url}/{path}")
            expect(page.locator("main")).to_contain_text(said)
        with psycopg.connect(postgres_server, autocommit=True) as admin:
            admin.execute("alter database dashboard_empty allow_connections false")
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'dashboard_empty'")
            expect(page.locator(".banner")).to_contain_text("The database cannot be reached.")
            expect(page.locator(".banner")).to_contain_text("forewarn status")
            with pytest.raises(urllib.error.HTTPError, match="503"):
                urllib.request.urlopen(f"{running.url}/readyz")
            admin.execute("alter database dashboard_empty allow_connections true")
        with psycopg.connect(url) as db:
            db.execute("insert into watermarks values ('shop', now())")
            db.execute("insert into service_edges values ('shop/a', 'shop/b', 1, 0, now())")
        expect(page.locator(".headline h1")).to_contain_text("All is calm.")
        expect(page.locator(".banner")).to_have_count(0)
        assert json.load(urllib.request.urlopen(f"{running.url}/readyz"))["status"] == "ok"
        code, log = running.stop()
        assert code == 0 and "dashboard stopped" in log and "Traceback" not in log
        expect(page.locator("#lost")).to_be_visible()
    finally:
        running.process.kill()
