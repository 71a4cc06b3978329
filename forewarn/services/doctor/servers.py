"""Mistakes between us and the servers around: gateway and its token, predictor, Dagster, mail, Loki, MLflow."""

import smtplib
from collections.abc import Callable, Iterator

import httpx

from forewarn.config.settings import Settings
from forewarn.services.doctor.finding import Finding, ok, unknown, warning, wrong

_SECONDS = 5.0
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # a server that listens everywhere is asked here


def examine_servers(settings: Settings) -> Iterator[Finding]:
    """Each is asked by itself."""
    host = _LOOPBACK.get(settings.bind_host, settings.bind_host)
    yield _gateway(settings, f"http://{host}:{settings.gateway_port}")
    for name, port, path, setting in (
        ("Predictor", settings.predictor_port, "/readyz", "PREDICTOR_PORT"),
        ("Dashboard", settings.dashboard_port, "/", "DASHBOARD_PORT"),
        ("Dagster", settings.dagster_port, "/server_info", "DAGSTER_PORT"),
    ):
        yield _http(name, f"http://{host}:{port}{path}", f"`forewarn up` starts it, or set FOREWARN_{setting}")
    if settings.smtp_host:
        yield _mail(settings)
    if settings.loki_url:
        yield _http("Loki", f"{settings.loki_url.rstrip('/')}/ready", "check FOREWARN_LOKI_URL, …_TENANT and …_TOKEN")
    tracking = settings.mlflow_tracking_uri.get_secret_value() if settings.mlflow_tracking_uri else ""
    if tracking.startswith("http"):
        yield _http("MLflow", f"{tracking.rstrip('/')}/health", "check FOREWARN_MLFLOW_TRACKING_URI")


def _gateway(settings: Settings, address: str) -> Finding:
    mend = "`forewarn up` starts it, or set FOREWARN_GATEWAY_PORT"
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

    return _asked("Gateway", address, mend, ask)


def _http(name: str, url: str, mend: str) -> Finding:
    def ask(client: httpx.Client) -> Finding:
        status = client.get(url, follow_redirects=True).status_code
        return ok(name, url) if status < 400 else warning(name, f"{url} answers {status}", mend)

    return _asked(name, url, mend, ask)


def _asked(name: str, url: str, mend: str, ask: Callable[[httpx.Client], Finding]) -> Finding:
    try:
        with httpx.Client(timeout=_SECONDS, trust_env=False) as client:
            return ask(client)
    except httpx.ConnectError:
        return wrong(name, f"nobody answers at {url}", mend)
    except httpx.HTTPError as error:
        return wrong(name, f"{url}: {type(error).__name__}", "does something else listen on this port?")
    except (httpx.InvalidURL, ValueError) as error:
        return unknown(name, f"{url} is no address: {error}")


def _mail(settings: Settings) -> Finding:
    place = f"{settings.smtp_host}:{settings.smtp_port}"
    try:
        with smtplib.SMTP(str(settings.smtp_host), settings.smtp_port, timeout=_SECONDS) as server:
            if settings.smtp_starttls:
                server.starttls()
            if settings.smtp_user and settings.smtp_password:
                server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
    except smtplib.SMTPAuthenticationError:
        return wrong("Mail", f"{place} refuses the user or the password", "check FOREWARN_SMTP_USER and …_PASSWORD")
    except (OSError, smtplib.SMTPException) as error:
        return wrong("Mail", f"{place}: {error}", "check FOREWARN_SMTP_HOST, …_PORT and …_STARTTLS")
    return ok("Mail", f"{place} takes mail for {settings.mail_to}")
