"""Episodes of open incidents in memory: the active alerter alone writes them, so it knows when to read again."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from forewarn.evaluation.ledger import Outcome
from forewarn.incidents.episodes import Episode
from forewarn.stores.ledger import LedgerStore

MAX_EPISODES = 4000


class EpisodeCache:
    """Reads episodes from the ledger, each once until something is written about it."""

    def __init__(self, ledger: LedgerStore) -> None:
        self._ledger = ledger
        self._known: OrderedDict[str, Episode] = OrderedDict()

    def get(self, ids: Sequence[str]) -> list[Episode]:
        """What is known of these episodes, in this order; unknown ones are left out."""
        unread = [e for e in dict.fromkeys(ids) if e not in self._known]
        if unread:
            self._known |= {e.episode: e for e in self._ledger.episodes(unread)}
        found = [self._known[e] for e in ids if e in self._known]
        for episode in found:
            self._known.move_to_end(episode.episode)
        while len(self._known) > MAX_EPISODES:
            self._known.popitem(last=False)
        return found

    def forget(self, ids: Iterable[str]) -> None:
        """Something was written about these."""
        for episode in ids:
            self._known.pop(episode, None)

    def resolved(self, outcomes: Sequence[Outcome]) -> None:
        """These predictions have got their outcome."""
        self.forget(o.prediction.episode for o in outcomes)

    @contextmanager
    def unless_undone(self) -> Iterator[None]:
        """Forget everything where what happens inside fails: its transaction is taken back."""
        try:
            yield
        except BaseException:
            self._known.clear()
            raise
