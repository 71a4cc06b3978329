"""Recordings that several tests look at."""

from datetime import UTC, datetime

import pytest

from forewarn.simulation.recording import Recording
from forewarn.simulation.simulate import Plan, simulate

WEDNESDAY = datetime(2026, 11, 18, tzinfo=UTC)


@pytest.fixture(scope="session")
def healthy_week() -> Recording:
    """Seven days in which nothing fails."""
    return simulate(WEDNESDAY, 7 * 24, 60, seed=3)


@pytest.fixture(scope="session")
def two_weeks() -> Recording:
    """Two weeks of history and a live day with a pool that is exhausted."""
    return Plan(datetime(2026, 11, 20, 12, tzinfo=UTC), scenario="pool-exhaustion").record()
