"""Which series may belong to one incident: in a backtest as live, services that do not hang together do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from forewarn.incidents.graph import ServiceGraph


@dataclass(frozen=True, slots=True, eq=False)
class Related:
    """Which of S series may be one incident. entity: int64 [S], which of E nodes each belongs to; near: bool [E, E],
    symmetric, true on its diagonal."""

    entity: NDArray[np.int64]
    near: NDArray[np.bool_]

    @classmethod
    def all(cls, series: int) -> "Related":
        """Any of them."""
        return cls(np.zeros(series, np.int64), np.ones((1, 1), np.bool_))

    @classmethod
    def by(cls, entities: Sequence[str], graph: ServiceGraph) -> "Related":
        """Series of one entity, of two of which one depends on the other, and of two that call the same; entities [S].

        Any of them where the graph knows no call between entities: then time alone must do.
        """
        nodes, entity = np.unique(np.array([graph.node(e) for e in entities], np.str_), return_inverse=True)
        at = {node: i for i, node in enumerate(nodes.tolist())}
        near = np.eye(len(nodes), dtype=np.bool_)
        for node, i in at.items():
            for server in graph.servers(node).keys() & at.keys():
                near[i, at[server]] = near[at[server], i] = True
        callers = [node for node in at if len(graph.servers(node)) > 1]
        if not callers:
            return cls.all(len(entities))
        for one, other in combinations(callers, 2):
            if graph.shared_servers(one, other):
                near[at[one], at[other]] = near[at[other], at[one]] = True
        return cls(entity.astype(np.int64), near)

    def are(self, one: int, other: int) -> bool:
        """Whether two series may be one incident."""
        return bool(self.near[self.entity[one], self.entity[other]])

    def rows(self, series: Sequence[int]) -> NDArray[np.int64]:
        """Those that may be one incident with any of these."""
        return np.flatnonzero(self.near[self.entity[list(series)]].any(axis=0)[self.entity])
