"""How a process of Forewarn begins and ends: its log and its signals."""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

import psycopg
import structlog

from forewarn.config.settings import Settings
from forewarn.services.tracing import configure_tracing
from forewarn.stores.schema import SchemaIsNewerError, create_tables

logger = structlog.get_logger(__name__)

THREAD_BROKE = 70  # exit status


def begin(service: str) -> Settings:
    """What the main of a service does first: its settings, its log, traces as `forewarn-SERVICE`, and an end with its
    threads."""
    settings = Settings()
    configure_logging(settings)
    configure_tracing(service)
    end_with_threads()
    return settings


def configure_logging(settings: Settings) -> None:
    """Send structlog's and the standard library's log to standard error, as `log_format` and `log_level` say."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(settings.log_format)],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)


def end_with_threads() -> None:
    """End the process where one of its threads ends by a fault (no memory, say): whoever supervises it starts it anew,
    while a service without its heartbeat, its deliveries or its senders would go on and look well."""

    def end(fault: threading.ExceptHookArgs) -> None:
        if fault.exc_type is not SystemExit:
            with contextlib.suppress(MemoryError):
                name = fault.thread.name if fault.thread else "unknown"
                logger.critical("a thread broke, the process ends", thread=name, exc_info=fault.exc_value)
            os._exit(THREAD_BROKE)

    threading.excepthook = end


def stop_event() -> threading.Event:
    """An event that SIGTERM and SIGINT set. Call it in the main thread; a second signal ends the process at once."""
    event = threading.Event()

    def stop(number: int, frame: object) -> None:
        event.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    return event


def _rendering(log_format: str) -> list[Any]:
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # A plain traceback: rich's shows local variables, and with them secrets.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def wait_for_tables(postgres_url: str, stop: threading.Event) -> None:
    """Return when PostgreSQL has the tables, or when `stop` is set; says once a second that it waits.

    Ends the process with a sentence where the database was upgraded by a newer Forewarn.
    """
    while not stop.is_set():
        try:
            create_tables(postgres_url)
        except SchemaIsNewerError as error:
            sys.exit(str(error))
        except psycopg.OperationalError as error:
            logger.warning("waiting for PostgreSQL", error=str(error).strip())
            time.sleep(1)
        else:
            return
