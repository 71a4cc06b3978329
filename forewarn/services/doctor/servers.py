"""Mistakes between us and the servers around: gateway and its token, predictor, Dagster, mail, Loki, MLflow."""

import smtplib
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from urllib.parse import urlsplit

import httpx

from forewarn.config import doors
from forewarn.config.settings import Settings
from forewarn.config.tls import server_certificate, trust
from forewarn.services.doctor.finding import Finding, ok, unknown, warning, wrong
from forewarn.services.doctor.tls import SECONDS, Door, Trust, examine_tls, speaks_tls
from forewarn.telemetry.sender import is_of_tls

Ask = Callable[[httpx.Client], Finding]


def examine_servers(settings: Settings, elsewhere: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Each is asked by itself. elsewhere: URLs of gateway, predictor, dashboard, dagster that run elsewhere."""
    told = {name: url.rstrip("/") for name, url in (elsewhere or {}).items() if url}
    if settings.tls_certificate_file or settings.tls_key_file:
        yield _certificate(settings)
    trusted = cache(partial(trust, settings))
    gateway = told.get("gateway") or doors.gateway_url(settings)
    yield from _gateway(settings, trusted, Door("Gateway", gateway, _name(settings, gateway, settings.answer_url)))
    for name, url, path in (
        ("Predictor", doors.door("http", settings.bind_host, settings.predictor_port), "/readyz"),
        ("Dashboard", doors.dashboard_url(settings), "/"),
        ("Dagster", doors.door("http", settings.bind_host, settings.dagster_port), "/server_info"),
    ):
        mend = f"`forewarn up` starts it, or set FOREWARN_{name.upper()}_PORT"
        url = told.get(name.lower(), url)
        yield from _http(trusted, Door(name, f"{url}{path}", _name(settings, url)), mend)
    yield from _public(settings, trusted)
    if settings.smtp_host:
        yield _mail(settings)
    if settings.loki_url:
        url = f"{settings.loki_url.rstrip('/')}/ready"
        yield from _http(trusted, _door("Loki", url), "check FOREWARN_LOKI_URL, …_TENANT and …_TOKEN")
    tracking = settings.mlflow_tracking_uri.get_secret_value() if settings.mlflow_tracking_uri else ""
    if tracking.startswith("http"):
        url = f"{tracking.rstrip('/')}/health"
        yield from _http(trusted, _door("MLflow", url), "check FOREWARN_MLFLOW_TRACKING_URI")


def _certificate(settings: Settings) -> Finding:
    try:
        server_certificate(settings)
        trust(settings)
    except ValueError as error:
        return wrong("TLS", str(error), "docs/security.md, 'TLS'")
    return ok("TLS", f"{settings.tls_certificate_file} and its key can be used")


def _public(settings: Settings, trusted: Trust) -> Iterator[Finding]:
    """Where people reach us, if it is another address than the one asked before: a proxy with TLS, say."""
    mend = "is the proxy up, and does its name lead here? From this host it may be out of reach all the same"
    public, answers = settings.public_url.rstrip("/"), (settings.answer_url or "").rstrip("/")
    if "public_url" in settings.model_fields_set and public != doors.dashboard_url(settings):
        yield from map(_milder, _http(trusted, _door("Public address", f"{public}/"), mend))
    if answers and answers != doors.gateway_url(settings):
        yield from map(_milder, _http(trusted, _door("Answer address", f"{answers}/healthz"), mend))


def _milder(finding: Finding) -> Finding:
    """People may reach what this host does not."""
    away = finding.verdict == "wrong" and finding.told.startswith("nobody answers")
    return warning(finding.check, finding.told, finding.mend) if away else finding


def _door(check: str, url: str) -> Door:
    return Door(check, url, urlsplit(url).hostname or "")


def _name(settings: Settings, url: str, people: str | None = None) -> str:
    """Which name a certificate must have: of a server here, the one by which people reach it, where that is set."""
    host = urlsplit(url).hostname or ""
    if host != doors.reachable(settings.bind_host):
        return host
    public = settings.public_url if "public_url" in settings.model_fields_set else ""
    named = [urlsplit(address).hostname for address in (people, public) if address and address.startswith("https://")]
    return named[0] or host if named else host


def _gateway(settings: Settings, trusted: Trust, door: Door) -> Iterator[Finding]:
    mend = "`forewarn up` starts it, or set FOREWARN_GATEWAY_PORT"
    address = door.url
    token = settings.gateway_token.get_secret_value() if settings.gateway_token else ""

    def ask(client: httpx.Client) -> Finding:
        ready = client.get(f"{address}/readyz")
        if ready.status_code == 503:
            return warning("Gateway", f"{address} is not ready: {ready.text[:120]}", "is the broker well?")
        if "forewarn" not in client.get(f"{address}/metrics").text:
            return wrong("Gateway", f"what answers at {address} is not Forewarn's gateway", mend)
        # an empty request of no metrics: it says whether the token is taken, and changes nothing
        headers = {"content-type": "application/x-protobuf", **({"authorization": f"Bearer {token}"} if token else {})}
        told = client.post(f"{address}/v1/metrics", content=b"", headers=headers)
        if told.status_code == 401:
            return wrong(
                "Gateway",
                f"{address} refuses FOREWARN_GATEWAY_TOKEN of this environment",
                "it was started with another one",
            )
        if told.status_code != 200:
            return warning("Gateway", f"{address} answers {told.status_code} to an empty request", told.text[:120])
        return ok("Gateway", f"{address} takes telemetry")

    yield from _asked(trusted, door, mend, ask)


def _http(trusted: Trust, door: Door, mend: str) -> Iterator[Finding]:
    def ask(client: httpx.Client) -> Finding:
        status = client.get(door.url, follow_redirects=True).status_code
        if status < 400:
            return ok(door.check, door.url)
        if status == 400 and door.url.startswith("http://") and speaks_tls(door.url):  # nginx says it so
            return _wants_tls(door)
        return warning(door.check, f"{door.url} answers {status}", mend)

    yield from _asked(trusted, door, mend, ask)


def _asked(trusted: Trust, door: Door, mend: str, ask: Ask) -> Iterator[Finding]:
    """What the door answers, after its certificate where it has one."""
    try:
        if door.url.startswith("https://"):
            tls = examine_tls(door, trusted)
            yield tls
            if tls.verdict == "wrong":
                return
        known_by_url = door.name == urlsplit(door.url).hostname  # if not, the handshake has compared the name
        context = trusted(known_by_url)
        with httpx.Client(timeout=SECONDS, trust_env=False, verify=context) as client:
            yield ask(client)
    except (httpx.ConnectError, OSError) as error:
        if is_of_tls(error):  # where it was sent on to
            yield wrong(door.check, f"{door.url} leads on to where there is no TLS connection: {error}", mend)
        else:
            yield wrong(door.check, f"nobody answers at {door.url}", mend)
    except httpx.HTTPError as error:
        if door.url.startswith("http://") and speaks_tls(door.url):
            yield _wants_tls(door)
        else:
            what = f"{door.url}: {type(error).__name__}"
            yield wrong(door.check, what, "does something else listen on this port?")
    except (httpx.InvalidURL, ValueError) as error:
        yield unknown(door.check, f"{door.url} cannot be asked: {error}")


def _wants_tls(door: Door) -> Finding:
    return wrong(
        door.check, f"{door.url} speaks TLS, and was asked in plain http",
        "write https://, or set FOREWARN_TLS_CERTIFICATE_FILE and …_KEY_FILE here as where it was started",
    )  # fmt: skip


def _mail(settings: Settings) -> Finding:
    place = f"{settings.smtp_host}:{settings.smtp_port}"
    try:
        with smtplib.SMTP(str(settings.smtp_host), settings.smtp_port, timeout=SECONDS) as server:
            if settings.smtp_starttls:
                server.starttls()
            if settings.smtp_user and settings.smtp_password:
                server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
    except smtplib.SMTPAuthenticationError:
        return wrong("Mail", f"{place} refuses the user or the password", "check FOREWARN_SMTP_USER and …_PASSWORD")
    except (OSError, smtplib.SMTPException) as error:
        return wrong("Mail", f"{place}: {error}", "check FOREWARN_SMTP_HOST, …_PORT and …_STARTTLS")
    return ok("Mail", f"{place} takes mail for {settings.mail_to}")
