"""What is wrong with TLS at a door: asked by a handshake of its own, because an HTTP client tells too little."""

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from forewarn.config.settings import Settings
from forewarn.config.tls import trust
from forewarn.services.doctor.finding import Finding, ok, warning, wrong

SECONDS = 5.0
_SOON_DAYS = 14
_RENEW = "renew it and restart what serves it (docs/security.md, 'TLS')"
_EXPIRED, _NOT_YET = 10, 9  # X509_V_ERR_…, openssl-verification-options(1)
_OTHER_NAME = {62, 64}
_NO_ISSUER = {2, 18, 19, 20, 21}


@dataclass(frozen=True, slots=True)
class Door:
    """A URL, and the name that its certificate must be valid for."""

    check: str
    url: str
    name: str

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def examine_tls(door: Door, settings: Settings) -> Finding:
    """The certificate of a door at https://.

    Raises OSError where nobody takes the connection, ValueError where a file that the settings name cannot be read.
    """
    check = f"{door.check}: TLS"
    try:
        peer = _handshake(door, trust(settings))
    except ssl.SSLCertVerificationError as error:
        names = _names(_peer(door, trust(settings, compare_names=False))) if error.verify_code in _OTHER_NAME else ""
        return _refused(door, check, error, names)
    except (ssl.SSLError, ConnectionResetError, TimeoutError) as error:
        if _speaks_http(door):
            return wrong(
                check, f"{door.url} speaks plain http, and was asked over TLS",
                "write http://, or start it with FOREWARN_TLS_CERTIFICATE_FILE and …_KEY_FILE as they are set here",
            )  # fmt: skip
        reason = getattr(error, "reason", "") or str(error) or type(error).__name__
        return wrong(check, f"no TLS connection to {door.url}: {reason}", "does something else listen on this port?")
    ends = _ends(peer)
    left = (ends - datetime.now(UTC)).days
    told = f"certificate of {_names(peer)}, until {ends:%Y-%m-%d} ({left} days)"
    return warning(check, told, _RENEW) if left < _SOON_DAYS else ok(check, told)


def speaks_tls(url: str) -> bool:
    """Whether the port of a URL takes a TLS handshake, whatever its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return _peer(Door("", url, urlsplit(url).hostname or ""), context) is not None


def _handshake(door: Door, context: ssl.SSLContext) -> dict[str, Any]:
    with (
        socket.create_connection(door.place, timeout=SECONDS) as raw,
        context.wrap_socket(raw, server_hostname=door.name) as connection,
    ):
        return dict(connection.getpeercert() or {})


def _refused(door: Door, check: str, error: ssl.SSLCertVerificationError, names: str) -> Finding:
    if error.verify_code == _EXPIRED:
        return wrong(check, f"the certificate at {door.url}, or one that signs it, has expired", _RENEW)
    if error.verify_code == _NOT_YET:
        return wrong(
            check, f"the certificate at {door.url} is not valid yet", "is this host's clock right? (timedatectl)"
        )
    if error.verify_code in _OTHER_NAME:
        return wrong(
            check, f"the certificate at {door.url} is of {names}, not of {door.name}",
            f"reach it by such a name (FOREWARN_PUBLIC_URL, FOREWARN_ANSWER_URL, the address that was given), or have "
            f"one made with {door.name} among its names (subjectAltName)",
        )  # fmt: skip
    if error.verify_code in _NO_ISSUER:
        return wrong(
            check, f"who signed the certificate at {door.url} is not known here",
            "name its authority's certificate in FOREWARN_TLS_CA_FILE (or SSL_CERT_FILE); the server must send the "
            "certificates in between, too",
        )  # fmt: skip
    return wrong(check, f"the certificate at {door.url} is not accepted: {error.verify_message}", _RENEW)


def _peer(door: Door, context: ssl.SSLContext) -> dict[str, Any] | None:
    """None where there is no handshake; {} where the context does not look at certificates."""
    try:
        return _handshake(door, context)
    except OSError:
        return None


def _speaks_http(door: Door) -> bool:
    host, port = door.place
    try:
        httpx.get(f"http://{f'[{host}]' if ':' in host else host}:{port}/", timeout=SECONDS, trust_env=False)
    except httpx.HTTPError:
        return False
    return True


def _names(peer: dict[str, Any] | None) -> str:
    return ", ".join(str(name) for _, name in (peer or {}).get("subjectAltName", ())) or "no name"


def _ends(peer: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(peer["notAfter"]), UTC)
