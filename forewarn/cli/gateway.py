"""Which gateway a command sends to: the one that it was told, else the one that runs here."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from forewarn.cli.failure import CommandError
from forewarn.config.doors import gateway_url
from forewarn.config.running import client_settings
from forewarn.config.tls import trust, trust_ours


@dataclass(frozen=True, slots=True)
class Gateway:
    """URL without a path, its token, and which certificate is accepted."""

    url: str
    token: str | None
    trust: ssl.SSLContext


def gateway_of(url: str = "", token: str = "", home: Path | None = None) -> Gateway:
    """As told, else of the stack that runs on the home, else of the settings. Raises CommandError."""
    settings = client_settings(home)
    if url and not url.startswith(("http://", "https://")):
        raise CommandError(f"--gateway {url!r}: give an address such as http://127.0.0.1:4318")
    own = settings.gateway_token.get_secret_value() if settings.gateway_token else None
    certificate = settings.tls_certificate_file
    try:
        context = trust(settings) if url or certificate is None else trust_ours(certificate)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return Gateway(url or gateway_url(settings), token or own, context)
