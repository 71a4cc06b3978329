"""Queueing formulas against what is known of them, and against a simulated queue."""

import numpy as np
import pytest

from forewarn.simulation.queueing import Pool, Station, queue_wait, retry_amplification, timeouts


def test_one_server_waits_as_in_m_m_1() -> None:
    assert queue_wait(0.8, 1, 0.1) == pytest.approx(0.1 * 0.8 / 0.2)


@pytest.mark.parametrize("servers", [2, 8])
def test_wait_agrees_with_a_simulated_queue(servers: int) -> None:
    rng = np.random.default_rng(4)
    service, rho = 1.0, 0.85
    arrivals = np.cumsum(rng.exponential(service / (servers * rho), 60_000))
    free, waits = np.zeros(servers), []
    for at, needs in zip(arrivals, rng.exponential(service, 60_000), strict=True):
        first = int(free.argmin())
        begin = max(at, free[first])
        waits.append(begin - at)
        free[first] = begin + needs
    assert queue_wait(rho, servers, service) == pytest.approx(np.mean(waits), rel=0.2)


def test_more_load_waits_longer() -> None:
    waits = [queue_wait(rho, 4, 0.01) for rho in np.linspace(0.05, 0.97, 30)]
    assert np.all(np.diff(waits) > 0)


def test_an_overloaded_station_builds_a_backlog_and_then_drops() -> None:
    station = Station(servers=2, patience_seconds=8)
    waits = []
    for _ in range(20):
        station.serve(arrivals=30, service_seconds=0.1, dt=1.0)
        waits.append(station.wait_seconds)
    assert waits[0] < waits[5] < waits[15]
    assert station.utilisation == 1
    assert station.dropped_ratio == pytest.approx(1 / 3, rel=0.01)  # 30 come, 20 are served
    for _ in range(30):
        station.serve(arrivals=5, service_seconds=0.1, dt=1.0)
    assert station.dropped_ratio == 0
    assert station.wait_seconds < 0.05


def test_a_pool_obeys_littles_law_until_it_is_full() -> None:
    pool = Pool(100, patience_seconds=4)
    pool.lend(rate=80, hold_seconds=0.5, leaked=10)
    assert pool.in_use == pytest.approx(10 + 80 * 0.5)
    assert pool.blocked_ratio == 0
    pool.lend(rate=80, hold_seconds=0.5, leaked=80)  # 40 wanted, 20 there
    assert pool.in_use == 100
    assert pool.blocked_ratio == pytest.approx(0.5)
    assert pool.pending > 100


def test_retries_amplify_within_their_budget() -> None:
    assert retry_amplification(0, 3, 0.25) == 1
    assert retry_amplification(0.1, 3, 0.25) == pytest.approx(1.11)
    assert retry_amplification(0.9, 3, 0.25) == 1.25


def test_timeouts_begin_below_the_timeout_and_end_at_a_half() -> None:
    assert timeouts(1.0, 8.0) == 0
    assert 0 < timeouts(7.0, 8.0) < timeouts(9.0, 8.0) < timeouts(100.0, 8.0) == 0.5
