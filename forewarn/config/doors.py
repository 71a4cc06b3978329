"""Where a server of ours is reached from this machine."""

from forewarn.config.settings import Settings
from forewarn.config.tls import scheme


def reachable(host: str) -> str:
    """An address to connect to for one that is listened on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def door(kind: str, bind_host: str, port: int) -> str:
    """URL without a path, as `http://[::1]:3000`, of a server that listens on `bind_host`; kind: http or https."""
    host = reachable(bind_host)
    return f"{kind}://{f'[{host}]' if ':' in host else host}:{port}"


def gateway_url(settings: Settings) -> str:
    """The gateway on this machine."""
    return door(scheme(settings), settings.bind_host, settings.gateway_port)


def dashboard_url(settings: Settings) -> str:
    """The dashboard on this machine."""
    return door(scheme(settings), settings.bind_host, settings.dashboard_port)
