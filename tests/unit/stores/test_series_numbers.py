"""Series get their numbers once; an attempt that fails costs nothing."""

from typing import Any

import psycopg
import pytest

from forewarn.features.series_budget import SeriesBudget
from forewarn.stores.metric_series import SeriesNumbers
from forewarn.telemetry.samples import Series

MANY = tuple(Series("shop/api", "requests", (("user", str(i)),)) for i in range(60))


class Connection:
    """Numbers rows from 1000 on; its n-th step (statement or commit) fails once."""

    def __init__(self, fails_at: int) -> None:
        self.left = fails_at

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise psycopg.errors.AdminShutdown("terminating connection")

    def commit(self) -> None:
        self.step()

    def execute(self, statement: str, columns: list[list[str]]) -> "Connection":
        self.step()
        self.rows = [(i + 1, 1000 + i) for i in range(len(columns[0]))]
        return self

    def fetchall(self) -> list[tuple[int, int]]:
        return self.rows


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_what_could_not_be_registered_takes_no_room_and_has_no_number(fails_at: int) -> None:
    numbers = SeriesNumbers(lambda: SeriesBudget(per_entity=100))
    connection: Any = Connection(fails_at)
    with pytest.raises(psycopg.errors.AdminShutdown):
        numbers.of(connection, MANY)
    assert numbers.budget is not None and numbers.budget.used == 0
    assert not numbers._by_series  # whatever it said was rolled back
    assert (numbers.of(connection, MANY) >= 1000).all()
    assert (numbers.budget.used, numbers.budget.refused) == (60, 0)
