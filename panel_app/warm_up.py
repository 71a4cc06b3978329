"""Opens every page once when the dashboard has started, so that templates, charts and answers are ready."""

import threading
import urllib.request
from collections.abc import Iterable

import structlog

logger = structlog.get_logger(__name__)
SECONDS = 20.0  # for a page


def warm_up(url: str, paths: Iterable[str]) -> threading.Thread:
    """Ask for the pages in a thread of its own; one that does not answer is left for its first reader."""

    def open_all() -> None:
        for path in paths:
            try:
                with urllib.request.urlopen(f"{url}{path}", timeout=SECONDS) as answer:
                    answer.read()
            except OSError as error:
                logger.debug("a page is not warm", path=path, error=str(error))
                return

    thread = threading.Thread(target=open_all, name="warm-up", daemon=True)
    thread.start()
    return thread
