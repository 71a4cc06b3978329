"""A thread that looks at something every few seconds."""

import threading


class Periodic:
    """`_look` once at `start`, in the caller's thread, then every `period_seconds` in one of its own until `stop`."""

    def __init__(self, name: str, period_seconds: float) -> None:
        self._period = period_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)

    def start(self) -> None:
        """Look once now, then in the background."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """End the background thread, after what it does last."""
        self._stop.set()
        if self._thread.ident:
            self._thread.join(timeout=10)

    def _watch(self) -> None:
        self._prepare()
        while not self._stop.wait(self._period):
            self._look()
        self._finish()

    def _prepare(self) -> None:
        """What takes time and is wanted later; nothing unless overridden."""

    def _finish(self) -> None:
        """What is done last, in the background; nothing unless overridden."""

    def _look(self) -> None:
        raise NotImplementedError
