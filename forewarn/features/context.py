"""Which series tell the load, the errors and the latency of an entity, so that use can be judged per request."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.features.definitions import INDEX
from forewarn.telemetry.connectors.names import is_derived
from forewarn.telemetry.samples import Series

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_LOAD = re.compile(
    r"(server|client)\.request\.(count|rate)$|requests?\.rate$|process\.rate$|query\.rate$|commands\.processed$"
)
_ERRORS = re.compile(r"error_ratio(\.\w+)?$")
_LATENCY = re.compile(r"duration(\.p\d+)?$")


@dataclass(frozen=True, slots=True)
class Context:
    """For each of S series the index of its entity's load, error and latency series, -1 without one.

    load, errors, latency: int64 [S].
    """

    load: I64
    errors: I64
    latency: I64


def context_of(series: Sequence[Series]) -> Context:
    """Find the role series of each entity; the first that fits wins. What is derived from logs and spans has no role:
    its level depends on what the sender samples."""
    roles: list[dict[str, int]] = [{}, {}, {}]
    for i, s in ((i, s) for i, s in enumerate(series) if not is_derived(s.signal)):
        for role, pattern in zip(roles, (_LOAD, _ERRORS, _LATENCY), strict=True):
            if pattern.search(s.signal):
                role.setdefault(s.entity, i)
    return Context(*(np.array([role.get(s.entity, -1) for s in series], np.int64) for role in roles))


def add_context(features: F64, own: I64, load: F64, errors: F64, latency: F64) -> None:
    """Write the context columns of `features` [R, F] in place.

    own: int64 [R], position of each row in the role blocks; load, errors, latency: features [S, F] of the role
    series with no limit known (so relative to their own spread), NaN rows where there is none.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, slope = load[own, INDEX["mean_1h"]], load[own, INDEX["slope_1h"]]
        features[:, INDEX["load_slope_1h"]] = slope / mean
        now, then = load[own, INDEX["mean_5m"]], load[own, INDEX["mean_5m"]] - load[own, INDEX["day_diff"]]
        load_ratio = np.log(np.clip(now, 1e-6, None) / np.clip(then, 1e-6, None))
        features[:, INDEX["load_day_ratio"]] = load_ratio
        use = features[:, INDEX["mean_5m"]]
        use_then = use - features[:, INDEX["day_diff"]]
        features[:, INDEX["use_per_load_day"]] = (
            np.log(np.clip(use, 1e-6, None) / np.clip(use_then, 1e-6, None)) - load_ratio
        )
        features[:, INDEX["latency_ratio"]] = np.log(
            np.clip(latency[own, INDEX["mean_5m"]], 1e-6, None) / np.clip(latency[own, INDEX["mean_24h"]], 1e-6, None)
        )
    features[:, INDEX["error_ratio"]] = errors[own, INDEX["mean_5m"]]
