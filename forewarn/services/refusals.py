"""Tells which series found no room: in the log, once a minute at most, and as counters for `service_status`."""

import time

import structlog

from forewarn.features.series_budget import SeriesBudget

logger = structlog.get_logger(__name__)

_SECONDS = 60.0


class Refusals:
    """What was told of refusals so far."""

    def __init__(self) -> None:
        self._told, self._told_at = 0, -_SECONDS

    def tell(self, budget: SeriesBudget, counters: dict[str, float], earlier: int = 0) -> None:
        """Set `series_refused_total`, and name the entities with most of them where there are new ones.

        earlier: refusals by budgets before this one.
        """
        now, refused = time.monotonic(), earlier + budget.refused
        counters["series_refused_total"] = refused
        if refused == self._told or now < self._told_at + _SECONDS:
            return
        logger.warning(
            "too many series: raise FOREWARN_MAX_SERIES_PER_ENTITY or FOREWARN_MAX_SERIES, or send fewer label values",
            refused=refused - self._told, kept=budget.used, worst=budget.worst(),
        )  # fmt: skip
        self._told, self._told_at = refused, now
