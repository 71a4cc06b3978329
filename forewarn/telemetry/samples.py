"""A batch of samples as arrays: what every metric becomes once it is decoded."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Kind(IntEnum):
    """How the values of a series are to be read."""

    GAUGE = 0
    CUMULATIVE = 1  # a counter that grows until its process restarts
    DELTA = 2  # a counter that tells the growth since the last sample


@dataclass(frozen=True, slots=True)
class Series:
    """One time series: a signal of an entity.

    `entity` is `namespace/name` (`name` alone without a namespace), see `entity_of`.
    `attributes` are the data point's, sorted by name; they are part of the identity.
    """

    entity: str
    signal: str
    attributes: tuple[tuple[str, str], ...] = ()
    kind: Kind = Kind.GAUGE
    unit: str = ""

    @property
    def name(self) -> str:
        """`signal{key=value,…}`: the signal as people and stores name it."""
        if not self.attributes:
            return self.signal
        return f"{self.signal}{{{','.join(f'{k}={v}' for k, v in self.attributes)}}}"

    @property
    def id(self) -> str:
        """`entity|signal{key=value,…}`: unique; the join key of the feature store."""
        return f"{self.entity}|{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class SampleBatch:
    """`n` samples of some series.

    series: the distinct series of the batch.
    index: int32 [n], which series a sample belongs to.
    times: int64 [n], event time in nanoseconds since 1970 UTC.
    values: float64 [n]; NaN marks a series that its source declares stale.
    """

    series: tuple[Series, ...]
    index: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.times)


def entity_of(attributes: dict[str, str]) -> str:
    """The entity that OpenTelemetry resource attributes name: `service.namespace/service.name`,
    else the pod, else the host; `unknown` without any of them."""
    name = next((attributes[k] for k in ("service.name", "k8s.pod.name", "host.name") if attributes.get(k)), "unknown")
    namespace = attributes.get("service.namespace") or attributes.get("k8s.namespace.name", "")
    return f"{namespace}/{name}" if namespace else name


def namespace_of(entity: str) -> str:
    """The namespace of an entity, '' without one. Each namespace has an event clock of its own."""
    return entity.partition("/")[0] if "/" in entity else ""


def resource_of(entity: str) -> dict[str, str]:
    """The resource attributes that `entity_of` turns into this entity."""
    namespace, _, name = entity.rpartition("/")
    return {"service.namespace": namespace, "service.name": name} if namespace else {"service.name": name}
