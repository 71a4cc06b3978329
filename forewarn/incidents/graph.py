"""The service graph: who calls whom, and how far a trouble may travel along it."""

from collections import deque
from collections.abc import Iterable, Mapping

MAX_HOPS = 4  # further away, everything is connected to everything


class ServiceGraph:
    """Calls between entities: a client depends on its server."""

    def __init__(self, edges: Iterable[tuple[str, str]] = ()) -> None:
        self.users: Mapping[str, int] = {}  # by entity: users seen at it lately
        self.all_users = 0
        self._servers: dict[str, set[str]] = {}
        self._clients: dict[str, set[str]] = {}
        self._below: dict[str, dict[str, int]] = {}  # what was asked before: a storm asks the same thousands of times
        self._above: dict[str, dict[str, int]] = {}
        for client, server in edges:
            if client != server:
                self._servers.setdefault(client, set()).add(server)
                self._clients.setdefault(server, set()).add(client)

    def hops(self, client: str, server: str) -> int | None:
        """Length of the shortest chain of calls from `client` to `server`; None where it does not depend on it."""
        return self.servers(client).get(self.node(server))

    def servers(self, entity: str) -> dict[str, int]:
        """Nodes that the entity depends on, itself included, and how many calls away they are."""
        node = self.node(entity)
        if node not in self._servers:  # not remembered: there may be any number of entities that call nobody
            return {node: 0}
        if node not in self._below:
            self._below[node] = self._reach(node, self._servers)
        return self._below[node]

    def dependants(self, entity: str) -> set[str]:
        """Everything that calls the entity, directly or through others."""
        node = self.node(entity)
        if node not in self._clients:
            return set()
        if node not in self._above:
            self._above[node] = self._reach(node, self._clients)
        return set(self._above[node]) - {node}

    def users_share(self, entity: str) -> float:
        """Share of the users seen lately who hang on the entity: at least as many as at it or at any dependant."""
        if not self.all_users:
            return 0.0
        return max(self.users.get(e, 0) for e in (entity, *self.dependants(entity))) / self.all_users

    def shared_servers(self, one: str, other: str) -> set[str]:
        """What both call directly."""
        return self._servers.get(self.node(one), set()) & self._servers.get(self.node(other), set())

    def node(self, entity: str) -> str:
        """What the graph calls the entity: those made of metrics often know its name only, without the namespace."""
        if entity in self._servers or entity in self._clients:
            return entity
        name = entity.rpartition("/")[2]
        return name if name in self._servers or name in self._clients else entity

    @staticmethod
    def _reach(start: str, neighbours: dict[str, set[str]]) -> dict[str, int]:
        distance = {start: 0}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            if distance[node] == MAX_HOPS:
                continue
            for neighbour in sorted(neighbours.get(node, ())):
                if neighbour not in distance:
                    distance[neighbour] = distance[node] + 1
                    queue.append(neighbour)
        return distance
