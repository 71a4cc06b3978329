"""How many series are kept, of an entity and in all; what is beyond that is refused, counted and named."""

from collections import Counter

from forewarn.telemetry.samples import Series

_OFFENDERS_KEPT = 100


class SeriesBudget:
    """Room for series, shared by the windows of a process.

    `refused` counts refusals (a series that is sent again is refused again); `offenders` names the entities with most
    of them, `examples` a signal of each.
    """

    def __init__(self, per_entity: int = 10_000, in_all: int = 300_000) -> None:
        self.per_entity, self.in_all = per_entity, in_all
        self.used = 0
        self.refused = 0
        self.offenders: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._of_entity: Counter[str] = Counter()

    def admit(self, series: Series) -> bool:
        """Take room for a series; False where there is none."""
        if self.used >= self.in_all or self._of_entity[series.entity] >= self.per_entity:
            self._refuse(series)
            return False
        self.used += 1
        self._of_entity[series.entity] += 1
        return True

    def release(self, entity: str) -> None:
        """Give back the room of a series of this entity."""
        self.used -= 1
        self._of_entity[entity] -= 1
        if not self._of_entity[entity]:
            del self._of_entity[entity]

    def worst(self, count: int = 5) -> str:
        """The entities with most refusals as text: `shop/api (12000, such as http.requests{path=/a})`."""
        return ", ".join(f"{e} ({n}, such as {self.examples[e]})" for e, n in self.offenders.most_common(count))

    def _refuse(self, series: Series) -> None:
        self.refused += 1
        if not self._of_entity[series.entity]:
            del self._of_entity[series.entity]
        if series.entity not in self.offenders and len(self.offenders) >= _OFFENDERS_KEPT:
            least, _ = min(self.offenders.items(), key=lambda item: item[1])
            del self.offenders[least], self.examples[least]
        self.offenders[series.entity] += 1
        self.examples.setdefault(series.entity, series.name)
