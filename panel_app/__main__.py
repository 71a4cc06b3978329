"""`python -m panel_app`: serves the dashboard until SIGTERM or Ctrl-C."""

import logging
import signal
import sys
from types import FrameType

import structlog
from bokeh.server.server import Server

from forewarn.config.doors import door
from forewarn.config.settings import Settings
from forewarn.config.tls import scheme
from forewarn.services.heartbeat import Heartbeat
from forewarn.services.lifecycle import configure_logging
from forewarn.services.metrics import MetricsServer
from panel_app.access import AccessError, access_of
from panel_app.loop_lag import LoopLag
from panel_app.server import PAGES, build_server
from panel_app.warm_up import warm_up
from panel_app.watcher import Watcher

logger = structlog.get_logger("panel_app")


def main() -> int:
    """Exit code 0 after a signal, 1 where the port is taken."""
    settings = Settings()
    configure_logging(settings)
    _quieten()
    postgres_url = settings.postgres_url.get_secret_value()
    try:
        access = access_of(settings)
    except AccessError as error:
        logger.error("the dashboard is not served", reason=str(error))
        return 1
    watcher = Watcher(postgres_url)
    try:
        server = build_server(settings, watcher, access)
    except OSError as error:
        where = f"{settings.bind_host}:{settings.dashboard_port}"
        logger.error(
            "cannot listen; is a dashboard running? set FOREWARN_DASHBOARD_PORT", address=where, error=str(error)
        )
        return 1
    except ValueError as error:
        logger.error("the certificate cannot be used", error=str(error))
        return 1
    with (
        Heartbeat(postgres_url, "dashboard", str(server.port)) as heartbeat,
        MetricsServer(settings, "dashboard", heartbeat.counters),
    ):
        watcher.start()
        lag = LoopLag(server.io_loop)
        server.io_loop.call_later(0, lag.start)
        server.io_loop.call_later(0, _count, server, heartbeat, lag)
        _stop_on_signals(server)
        logger.info("dashboard ready", url=f"{scheme(settings)}://{settings.bind_host}:{server.port}")
        server.start()
        if scheme(settings) == "http" and not access.on:
            warm_up(door("http", settings.bind_host, server.port), [page.path for page in PAGES])
        server.io_loop.start()
        watcher.stop()
    logger.info("dashboard stopped")
    return 0


def _quieten() -> None:
    """Keep what each click of a reader makes the web framework say out of the log."""
    for name in ("bokeh", "tornado.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("asyncio").addFilter(lambda record: "WebSocketClosedError" not in record.getMessage())


def _count(server: Server, heartbeat: Heartbeat, lag: LoopLag) -> None:
    heartbeat.counters["open_pages"] = float(len(server.get_sessions()))
    heartbeat.counters["loop_lag_seconds_p99"] = lag.quantile(0.99)
    server.io_loop.call_later(2, _count, server, heartbeat, lag)


def _stop_on_signals(server: Server) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        server.io_loop.add_callback_from_signal(server.io_loop.stop)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)


if __name__ == "__main__":
    sys.exit(main())
