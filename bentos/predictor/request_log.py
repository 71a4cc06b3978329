"""Keeps what clients do wrong from filling the log: BentoML writes a traceback for each question that is no JSON."""

import logging

from pydantic import ValidationError


class _WithoutTraceback(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the line, drop the traceback where the client is to blame."""
        if isinstance(record.exc_info, tuple) and isinstance(record.exc_info[1], ValidationError):
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def quiet() -> None:
    """Requests are counted in /metrics, by door and status; a line for each would cost more than the answer."""
    logging.getLogger("bentoml._internal.server.http_app").addFilter(_WithoutTraceback())
    for name in ("uvicorn.access", "bentoml.access"):
        logging.getLogger(name).disabled = True
