"""The certificate of our doors: read once at the start, so that what is wrong with it is said then."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from forewarn.config.settings import Settings


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """Files in PEM that belong together."""

    certificate: Path
    key: Path


def server_certificate(settings: Settings) -> ServerCertificate | None:
    """The certificate of the settings; None where there is to be no TLS.

    Raises ValueError, naming the setting, where one of the two is missing or they cannot be used.
    """
    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ValueError("FOREWARN_TLS_CERTIFICATE_FILE and FOREWARN_TLS_KEY_FILE go together: one of them is not set")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")  # asks nobody
    except OSError as error:  # SSLError among them
        raise ValueError(
            f"FOREWARN_TLS_CERTIFICATE_FILE {certificate} and FOREWARN_TLS_KEY_FILE {key} cannot be used ({error}): "
            "both must be PEM, belong together, be readable, and the key without a passphrase"
        ) from error
    return ServerCertificate(certificate, key)


def scheme(settings: Settings) -> str:
    """`https` where our doors have a certificate, else `http`."""
    return "http" if settings.tls_certificate_file is None else "https"
