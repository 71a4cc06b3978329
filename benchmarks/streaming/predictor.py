"""A predictor process of the benchmark: the real stream with the first-day scorer, and what it tells about itself."""

import multiprocessing
import os
import time
from typing import Any

_CONTEXT = multiprocessing.get_context("spawn")


class Predictor:
    """A process that runs `PredictionStream`; `samples`, `scored_at` (monotonic seconds) and `series` are live."""

    def __init__(self, address: str, step_seconds: float, lateness_seconds: float, threads: int = 2) -> None:
        self._state = _CONTEXT.Array("d", 4, lock=False)
        arguments = (address, step_seconds, lateness_seconds, threads, self._state)
        self._process = _CONTEXT.Process(target=_run, args=arguments, daemon=True)
        self._process.start()

    samples = property(lambda self: int(self._state[0]), doc="Samples taken since the start.")
    scored_at = property(lambda self: float(self._state[1]), doc="When all it had was last scored; 0 before.")
    risks = property(lambda self: int(self._state[2]), doc="Risks told since the start.")
    scored_rows = property(lambda self: int(self._state[3]), doc="Rows scored since the start.")

    def wait(self, samples: int, seconds: float = 120) -> float:
        """The moment at which so many samples were taken and scored. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while self.samples < samples or not self.scored_at:
            if time.monotonic() > deadline or not self._process.is_alive():
                raise TimeoutError(f"the predictor has {self.samples} of {samples} samples after {seconds:.0f} s")
            time.sleep(0.02)
        return self.scored_at

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.join()


def _run(address: str, step: float, lateness: float, threads: int, state: Any) -> None:
    os.environ["NUMBA_NUM_THREADS"] = str(threads)
    from forewarn.config.settings import Settings
    from forewarn.risk.first_day import FirstDayScorer
    from forewarn.services.prediction_stream import PredictionStream

    class Watched(PredictionStream):
        """Writes its counters where the parent sees them."""

        def _take(self, message: Any) -> None:
            super()._take(message)
            state[0] = self.counters["samples_total"]

        def _assess_all(self) -> None:
            super()._assess_all()
            state[2], state[3] = self.counters["risks_total"], self.counters["scored_rows_total"]
            if self.latest:
                state[1] = time.monotonic()

    settings = Settings(kafka_bootstrap=address, step_seconds=step, lateness_seconds=lateness, _env_file=None)  # type: ignore[call-arg]
    Watched(settings, FirstDayScorer).run()
