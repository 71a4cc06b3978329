"""Log templates of one entity: drain3's tree, bounded, with a memory of what was seen before."""

import copy
import hashlib
from collections.abc import Iterator

import msgspec
from drain3.drain import Drain, LogCluster, Node

from forewarn.telemetry.connectors.log_text import masked

MOST_TEMPLATES = 200  # of an entity; beyond it the one not seen for longest goes
_MOST_KNOWN = 2_000  # ids that are remembered as seen before
_MOST_CACHED = 5_000
_EXAMPLE = 300


class Template(msgspec.Struct):
    """One template: its id (of the first line's text, so that it stays when the text grows more general)."""

    id: str
    first_seen: int
    last_seen: int
    severity: str
    example: str
    errors: int = 0
    count: int = 0
    text: str = ""


class _Tree(msgspec.Struct, array_like=True):
    clusters: list[int]
    children: dict[str, "_Tree"]


class _State(msgspec.Struct, array_like=True):
    counter: int
    clusters: list[tuple[int, int, list[str], Template]]  # id, size, tokens, about it; least recently used first
    tree: _Tree
    known: list[str]


class Templates:
    """Finds the template of a line; the same lines in the same order give the same templates, also after `load`."""

    def __init__(self) -> None:
        self._drain = Drain(max_clusters=MOST_TEMPLATES)
        self._about: dict[int, Template] = {}  # by cluster
        self._known: dict[str, None] = {}
        self._cached: dict[str, int] = {}
        self.touched: set[int] = set()  # clusters that were seen since the caller last emptied it

    def learn(self, entity: str, message: str, severity: str, error: bool, time: int) -> tuple[Template, bool]:
        """The template of a line, and whether it has never been seen before.

        Lines of two severities have two templates: a request that failed often differs from one that did not in a
        masked number alone. The severity is a part of the first word, by which the tree branches.
        """
        line = f"{severity}:{masked(message)}"
        number, new = self._cluster(line), False
        about = self._about.get(number)
        if about is None:
            about = self._about[number] = Template(_id(entity, line), time, time, severity, message[:_EXAMPLE])
            new = self._is_new(about.id)
        about.count += 1
        about.errors += error
        about.first_seen, about.last_seen = min(about.first_seen, time), max(about.last_seen, time)
        self.touched.add(number)
        return about, new

    def touched_ones(self) -> list[Template]:
        """The templates that were seen since `touched` was last emptied, with their text as it is now."""
        found = [(self._drain.id_to_cluster.get(n), self._about.get(n)) for n in sorted(self.touched)]
        told = [(cluster, about) for cluster, about in found if cluster is not None and about is not None]
        for cluster, about in told:
            about.text = cluster.get_template().removeprefix(f"{about.severity}:")
        return [about for _, about in told]

    def _cluster(self, line: str) -> int:
        """The cluster of a masked line. A line is looked up in the tree again only after the tree has changed: what
        is cached is what the tree would say."""
        number = self._cached.get(line)
        if number is not None and number in self._drain.id_to_cluster:
            self._drain.id_to_cluster[number].size += 1  # also tells drain's cache of its use
            return number
        cluster, change = self._drain.add_log_message(line)
        if change != "none" or len(self._cached) >= _MOST_CACHED:
            self._cached.clear()
        if change == "cluster_created":
            self._about = {n: about for n, about in self._about.items() if n in self._drain.id_to_cluster}
        self._cached[line] = cluster.cluster_id
        return int(cluster.cluster_id)

    def _is_new(self, identity: str) -> bool:
        if identity in self._known:
            return False
        self._known[identity] = None
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return True

    def dump(self) -> bytes:
        """All of it."""
        clusters = [(n, c.size, list(c.log_template_tokens), self._about[n]) for n, c in self._oldest_first()]
        state = _State(self._drain.clusters_counter, clusters, _tree(self._drain.root_node), list(self._known))
        return msgspec.msgpack.encode(state)

    def _oldest_first(self) -> Iterator[tuple[int, LogCluster]]:
        rest = copy.copy(self._drain.id_to_cluster)
        while rest:
            yield rest.popitem()

    @classmethod
    def load(cls, dumped: bytes) -> "Templates":
        """As it was when it was dumped. Raises msgspec.MsgspecError for what is no dump."""
        state, made = msgspec.msgpack.decode(dumped, type=_State), cls()
        made._drain.clusters_counter = state.counter
        made._drain.root_node = _node(state.tree)
        for number, size, tokens, about in state.clusters:
            cluster = LogCluster(tokens, number)
            cluster.size = size
            made._drain.id_to_cluster[number] = cluster
            made._about[number] = about
        made._known = dict.fromkeys(state.known)
        return made


def _id(entity: str, line: str) -> str:
    return hashlib.blake2b(f"{entity}\n{line}".encode(errors="replace"), digest_size=6).hexdigest()


def _tree(node: Node) -> _Tree:
    return _Tree(list(node.cluster_ids), {token: _tree(child) for token, child in node.key_to_child_node.items()})


def _node(tree: _Tree) -> Node:
    node = Node()
    node.cluster_ids = tree.clusters
    node.key_to_child_node = {token: _node(child) for token, child in tree.children.items()}
    return node
