"""Which log template usually follows which: counts of neighbours of one entity, bounded, that forget slowly."""

from collections.abc import Mapping

import msgspec

MOST_CONTEXTS = 100  # templates whose followers are counted
MOST_FOLLOWERS = 20  # of each
_MOST_LINES = 200_000  # of all, at which their counts by template are halved
_MOST_TEMPLATES = 1_000  # that are counted at a time
_FORGET = 2_000  # lines after a template at which its counts are halved
_FEWEST = 50  # lines after a template below which nothing after it is unexpected
_RARE = 0.003  # share of the lines after a template below which one that follows is unexpected …
_LIFT = 0.2  # … unless it is nearly as common after it as everywhere: lines of several requests interleave


class Followers(msgspec.Struct):
    """Counts by template: of the lines after it by their template, and of all lines by template.

    What is judged is learned later (`learn`), so that a burst does not make itself usual.
    """

    after: dict[str, dict[str, int]] = {}
    totals: dict[str, int] = {}
    lines: dict[str, int] = {}
    all_lines: int = 0

    def unexpected(self, before: str, template: str) -> bool | None:
        """Whether a template is rare after the one before it; None where too little is known to say so."""
        total = self.totals.get(before, 0)
        if total < _FEWEST:
            return None
        share = self.after[before].get(template, 0) / total
        return share < _RARE and share < _LIFT * self.lines.get(template, 0) / self.all_lines if share else True

    def judge(self, pairs: Mapping[str, Mapping[str, int]]) -> tuple[int, int]:
        """Of the neighbours of a bucket, before -> template -> how often: those of which it is known what to expect,
        and those of them that were not expected."""
        judged = unexpected = 0
        for before, following in pairs.items():
            for template, count in following.items():
                verdict = self.unexpected(before, template)
                judged += count if verdict is not None else 0
                unexpected += count if verdict else 0
        return judged, unexpected

    def learn(self, pairs: Mapping[str, Mapping[str, int]]) -> None:
        """Count the neighbours of a bucket: before -> template -> how often; what was unexpected, once: it becomes
        usual by coming in many buckets, not by coming often in one."""
        for before, following in pairs.items():
            counts = self.after.setdefault(before, {})
            for template, came in following.items():
                count = 1 if self.unexpected(before, template) else came
                counts[template] = counts.get(template, 0) + count
                self.lines[template] = self.lines.get(template, 0) + count
                self.all_lines += count
            self._bound(before, counts)
        while len(self.after) > MOST_CONTEXTS:
            self._drop(min(self.totals, key=self.totals.__getitem__))
        while self.all_lines > _MOST_LINES or len(self.lines) > _MOST_TEMPLATES:
            self.lines = {name: count // 2 for name, count in self.lines.items() if count > 1}
            self.all_lines = sum(self.lines.values())

    def _bound(self, before: str, counts: dict[str, int]) -> None:
        if sum(counts.values()) > _FORGET:
            counts = {name: count // 2 for name, count in counts.items() if count > 1}
        if len(counts) > MOST_FOLLOWERS:
            counts = dict(sorted(counts.items(), key=lambda one: -one[1])[:MOST_FOLLOWERS])
        self.after[before], self.totals[before] = counts, sum(counts.values())

    def _drop(self, before: str) -> None:
        del self.after[before], self.totals[before]
