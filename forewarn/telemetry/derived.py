"""Adds to batches of samples the series that follow from them: used = size - available, and the like."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forewarn.telemetry.derived_rules import Term, term_of
from forewarn.telemetry.samples import SampleBatch, Series

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_FRESH_NS = 15 * 60 * 10**9  # a term told longer ago does not count, nor (when a log is read again) one from later
_HOUR_NS = 3_600 * 10**9
_MOST_TERMS, _SETS_KEPT = 200_000, 100_000
_LONG_AGO = np.iinfo(np.int64).min // 2


@dataclass(slots=True, eq=False)
class _Plan:
    """What a set of series contributes: for each of them the number of its term and its result, -1 without one.

    results: the k results. terms, owners: all terms of these results, and which of the k each belongs to.
    `version` tells when terms were last looked up.
    """

    series: tuple[Series, ...]
    extended: tuple[Series, ...]
    term: I64
    result: I64
    results: list["_Result"]
    terms: I64
    owners: I64
    version: int = -1


@dataclass(slots=True, eq=False)
class _Result:
    """What follows: the numbers of its terms, and how many of them it needs."""

    needed: int
    terms: list[int] = field(default_factory=list)


class Derivation:
    """Remembers the latest value of each term, so that a total told once an hour serves each sample of what is free.

    One instance sees all messages of the entities it is asked about, in the order of the log. It has room for 200,000
    terms; where there is none for a new one, those that were not told for an hour are forgotten. `refused` counts terms
    that found none all the same, in each message.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._plans: dict[int, tuple[tuple[Series, ...], _Plan | None]] = {}  # by id of the tuple, held here
        self._term_of: dict[Series, int] = {}
        self._free: list[int] = []  # numbers of terms that were forgotten
        self._results: dict[Series, _Result] = {}
        self._version = 0  # how often a term was added
        self._values, self._times = np.full(64, np.nan), np.full(64, _LONG_AGO, np.int64)
        self._coefficients = np.zeros(64)

    def extend(self, batch: SampleBatch) -> SampleBatch:
        """The batch and what follows from it, one sample for each time at which a term was told.

        The same tuple of series gives the same tuple again; a batch that nothing follows from is returned as it is.
        A term that is stale makes its result stale.
        """
        plan = self._plan(batch.series, int(batch.times.max(initial=0)))
        if plan is None or not len(batch):
            return batch
        picked = np.flatnonzero(plan.term[batch.index] >= 0)
        added = list(self._told(plan, batch, picked[np.argsort(batch.times[picked], kind="stable")]))
        index, times, values = (np.concatenate(parts) for parts in zip(*added, strict=True)) if added else ((),) * 3
        return SampleBatch(
            plan.extended,
            np.concatenate((batch.index, np.asarray(index, np.int32) + np.int32(len(plan.series)))),
            np.concatenate((batch.times, np.asarray(times, np.int64))),
            np.concatenate((batch.values, np.asarray(values, np.float64))),
        )

    def _told(self, plan: _Plan, batch: SampleBatch, picked: I64) -> Iterator[tuple[I64, I64, F64]]:
        self._look_up(plan)
        needed = np.array([result.needed for result in plan.results])
        for same in np.split(picked, np.flatnonzero(np.diff(batch.times[picked])) + 1):
            if not len(same):
                continue
            time, rows = int(batch.times[same[0]]), batch.index[same]
            self._values[plan.term[rows]] = batch.values[same]
            self._times[plan.term[rows]] = time
            told = np.unique(plan.result[rows])
            there = (~np.isnan(self._values[plan.terms])) & (np.abs(time - self._times[plan.terms]) <= _FRESH_NS)
            parts = np.where(there, self._coefficients[plan.terms] * self._values[plan.terms], 0.0)
            sums = np.bincount(plan.owners, parts, len(needed))
            enough = np.bincount(plan.owners, there, len(needed)) >= needed
            ended = np.zeros(len(needed), np.bool_)
            ended[plan.result[rows[np.isnan(batch.values[same])]]] = True
            told = told[enough[told] | ended[told]]
            yield told, np.full(len(told), time), np.where(enough[told], sums[told], np.nan)

    def _plan(self, series: tuple[Series, ...], newest: int) -> _Plan | None:
        known = self._plans.get(id(series))
        if known is not None:
            return known[1]
        if len(self._plans) > _SETS_KEPT:
            self._plans.clear()
        refused = self.refused
        plan = self._new_plan(series, newest)
        if self.refused == refused:  # else there may be room next time
            self._plans[id(series)] = series, plan
        return plan

    def _new_plan(self, series: tuple[Series, ...], newest: int) -> _Plan | None:
        present = set(series)
        found = ((i, term_of(s)) for i, s in enumerate(series))
        terms = {i: one for i, one in found if one is not None and one.derived not in present}
        if len(self._term_of) + len(terms) > _MOST_TERMS:
            self._forget_old(newest - _HOUR_NS)
        term = np.full(len(series), -1, np.int64)
        for i, one in terms.items():
            term[i] = self._number(series[i], one)
        self.refused += sum(term[i] < 0 for i in terms)
        derived = list(dict.fromkeys(one.derived for i, one in terms.items() if term[i] >= 0))
        if not derived:
            return None
        place = {one: number for number, one in enumerate(derived)}
        result = np.full(len(series), -1, np.int64)
        for i, one in terms.items():
            result[i] = place[one.derived] if term[i] >= 0 else -1
        none = np.empty(0, np.int64)
        return _Plan(series, series + tuple(derived), term, result, [self._results[d] for d in derived], none, none)

    def _number(self, series: Series, term: Term) -> int:
        """Number of a term; a new one joins its result; -1 where there is no room for it."""
        number = self._term_of.get(series)
        if number is None:
            if len(self._term_of) >= _MOST_TERMS:
                return -1
            number = self._term_of[series] = self._free.pop() if self._free else len(self._term_of)
            if number >= len(self._values):
                self._grow()
            self._values[number], self._times[number] = np.nan, _LONG_AGO
            self._coefficients[number] = term.coefficient
            self._results.setdefault(term.derived, _Result(term.needed)).terms.append(number)
            self._version += 1
        return number

    def _forget_old(self, before: int) -> None:
        """Make room: terms that were not told since `before` are forgotten, and results without a term."""
        old = self._times < before
        if not old[: len(self._term_of) + len(self._free)].any():
            return
        forgotten = {number for number in self._term_of.values() if old[number]}
        self._term_of = {s: number for s, number in self._term_of.items() if not old[number]}
        for derived, result in list(self._results.items()):
            result.terms = [number for number in result.terms if number not in forgotten]
            if not result.terms:
                del self._results[derived]
        self._free += forgotten
        self._times[self._free] = np.iinfo(np.int64).max  # until others have their numbers
        self._plans.clear()

    def _look_up(self, plan: _Plan) -> None:
        """All terms of the plan's results: other messages may have brought more since."""
        if plan.version == self._version:
            return
        plan.terms = np.array([t for result in plan.results for t in result.terms], np.int64)
        plan.owners = np.repeat(np.arange(len(plan.results)), [len(result.terms) for result in plan.results])
        plan.version = self._version

    def _grow(self) -> None:
        room = len(self._values)
        self._values = np.concatenate((self._values, np.full(room, np.nan)))
        self._times = np.concatenate((self._times, np.full(room, _LONG_AGO, np.int64)))
        self._coefficients = np.concatenate((self._coefficients, np.zeros(room)))
