"""Hands the newest features of the stream to the process that pushes them into Feast's online store.

The stream does not know of it and never waits: it leaves its newest scores in a dictionary, and a thread looks there
once a second. While the store is busy, scores that were overtaken by newer ones are left out.
"""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from forewarn.services.prediction_stream import Latest

logger = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 60.0


class OnlineFeatures:
    """A thread and a process below `home`. latest: the newest scores of each engine, as the stream keeps them."""

    def __init__(self, latest: Mapping[Any, Latest], home: Path, every_seconds: float = 1.0) -> None:
        self.pushed_rows = 0
        self._latest, self._home, self._every = latest, home, every_seconds
        self._sent: dict[Any, Latest] = {}
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="online features", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was handed over is still pushed, for at most ten seconds."""
        self._stop.set()
        self._thread.join(timeout=10)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def _run(self) -> None:
        pause = self._every
        while not self._stop.wait(pause):
            try:
                self._feed()
            except OSError as error:
                pause = min(max(pause, 1.0) * 2, _LONGEST_PAUSE_SECONDS)
                logger.warning("the online store's process ended, starting another", seconds=pause, reason=str(error))
                self._sent.clear()

    def _feed(self) -> None:
        """Feed one process until it ends or this does. Raises OSError where it ends first."""
        import pyarrow as pa

        from feature_repo.store import SCHEMA

        command = [sys.executable, "-m", "bentos.online_store", str(self._home)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert self._process.stdin is not None
        try:
            with contextlib.closing(self._process.stdin), pa.ipc.new_stream(self._process.stdin, SCHEMA) as stream:
                while not self._stop.wait(self._every):
                    for key, latest in list(self._latest.items()):
                        self._hand_over(stream, key, latest)
                    self._process.stdin.flush()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()

    def _hand_over(self, stream: Any, key: Any, latest: Latest) -> None:
        if self._sent.get(key) is latest or not latest.series:
            return
        import numpy as np

        from feature_repo.store import features_table

        at = np.full(len(latest.series), round(latest.at.timestamp() * 1e6), np.int64)
        stream.write_table(features_table([s.id for s in latest.series], at, latest.features))
        self._sent[key] = latest
        self.pushed_rows += len(latest.series)
