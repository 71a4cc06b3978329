"""What is wrong with TLS at a door: asked by a handshake of its own, because an HTTP client tells too little."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from forewarn.services.doctor.finding import Finding, ok, warning, wrong

Trust = Callable[[bool], ssl.SSLContext]  # whom we trust; the argument: whether names are compared

SECONDS = 5.0
_SOON_DAYS = 14
_RENEW = "renew it and restart what serves it (docs/security.md, 'TLS')"
_EXPIRED, _NOT_YET = 10, 9  # X509_V_ERR_…, openssl-verification-options(1)
_OTHER_NAME = {62, 64}
_NO_ISSUER = {2, 18, 19, 20, 21}


@dataclass(frozen=True, slots=True)
class Door:
    """A URL, the name that its certificate must have, and the settings that say where it is and whom we trust."""

    check: str
    url: str
    name: str
    by: str = "FOREWARN_PUBLIC_URL, FOREWARN_ANSWER_URL, the address that was given"
    authority: str = "FOREWARN_TLS_CA_FILE (or SSL_CERT_FILE)"

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def examine_tls(door: Door, trusted: Trust) -> Finding:
    """The certificate of a door that speaks TLS.

    Raises OSError where nobody takes the connection, ValueError where a file that the settings name cannot be read.
    """
    check = f"{door.check}: TLS"
    try:
        peer = _handshake(door, trusted(True))
    except ssl.SSLCertVerificationError as error:
        return _refused(door, check, error, trusted)
    except (ssl.SSLError, ConnectionResetError, TimeoutError) as error:
        if door.url.startswith("https://") and _speaks_http(door):
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
    try:
        _handshake(Door("", url, urlsplit(url).hostname or ""), context)
    except OSError:
        return False
    return True


def _handshake(door: Door, context: ssl.SSLContext) -> dict[str, Any]:
    with (
        socket.create_connection(door.place, timeout=SECONDS) as raw,
        context.wrap_socket(raw, server_hostname=door.name) as connection,
    ):
        return dict(connection.getpeercert() or {})


def _refused(door: Door, check: str, error: ssl.SSLCertVerificationError, trusted: Trust) -> Finding:
    names = ""
    if error.verify_code in _OTHER_NAME:
        try:
            names = _names(_handshake(door, trusted(False)))
        except ssl.SSLCertVerificationError as more:
            error = more  # worse than another name
    if error.verify_code == _EXPIRED:
        return wrong(check, f"the certificate at {door.url}, or one that signs it, has expired", _RENEW)
    if error.verify_code == _NOT_YET:
        return wrong(
            check, f"the certificate at {door.url} is not valid yet", "is this host's clock right? (timedatectl)"
        )
    if error.verify_code in _OTHER_NAME:
        return wrong(
            check, f"the certificate at {door.url} is of {names}, not of {door.name}",
            f"reach it by such a name ({door.by}), or have one made with {door.name} among its names (subjectAltName)",
        )  # fmt: skip
    if error.verify_code in _NO_ISSUER:
        return wrong(
            check, f"who signed the certificate at {door.url} is not known here",
            f"name its authority's certificate in {door.authority}; the server must send those in between, too",
        )  # fmt: skip
    return wrong(check, f"the certificate at {door.url} is not accepted: {error.verify_message}", _RENEW)


def _speaks_http(door: Door) -> bool:
    host, port = door.place
    try:
        httpx.get(f"http://{f'[{host}]' if ':' in host else host}:{port}/", timeout=SECONDS, trust_env=False)
    except httpx.HTTPError:
        return False
    return True


def _names(peer: dict[str, Any]) -> str:
    return ", ".join(str(name) for _, name in peer.get("subjectAltName", ())) or "no name"


def _ends(peer: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(peer["notAfter"]), UTC)
