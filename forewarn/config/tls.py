"""The certificate of our doors, read at the start so that what is wrong with it is said then; and whom we trust."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from forewarn.config.settings import Settings

_END = "-----END CERTIFICATE-----"


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


def trust(settings: Settings, compare_names: bool = True) -> ssl.SSLContext:
    """For connections to any server: the system's certificates (or those of SSL_CERT_FILE), FOREWARN_TLS_CA_FILE and
    our own certificate. compare_names: False where the name was or will be compared otherwise.

    Raises ValueError where a file cannot be read.
    """
    context = ssl.create_default_context()
    context.check_hostname = compare_names
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # ours may be signed by one that is not at hand
    try:
        if settings.tls_ca_file is not None:
            context.load_verify_locations(settings.tls_ca_file)
    except OSError as error:
        raise ValueError(f"FOREWARN_TLS_CA_FILE {settings.tls_ca_file} cannot be used ({error})") from error
    if settings.tls_certificate_file is not None:
        context.load_verify_locations(cadata=_leaf(settings.tls_certificate_file))
    return context


def trust_ours(certificate: Path) -> ssl.SSLContext:
    """For connections on this machine to a server that was given this certificate: accepts it and no other.

    It is valid for the name by which people reach the server, seldom for 127.0.0.1: as no other certificate passes,
    the name is not compared. Raises ValueError where the file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=_leaf(certificate))
    return context


def _leaf(certificate: Path) -> str:
    """The first certificate of a chain, in PEM: those that follow it sign others, too."""
    try:
        first, end, _ = certificate.read_text().partition(_END)
        ssl.PEM_cert_to_DER_cert(leaf := first[first.find("-----BEGIN") :] + end)
    except (OSError, ValueError) as error:
        raise ValueError(f"FOREWARN_TLS_CERTIFICATE_FILE {certificate} cannot be used ({error})") from error
    return leaf
