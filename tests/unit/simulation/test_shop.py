"""The shop behaves like a system of queues, and nothing fails in it unless it is told to."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from forewarn.simulation.recording import Recording
from forewarn.simulation.scenarios import VARIANTS, Injection
from forewarn.simulation.schedule import Release
from forewarn.simulation.simulate import Plan, simulate, utc_offset_hours
from forewarn.simulation.topology import SERVICES, SIGNALS
from forewarn.telemetry.samples import Kind

START = datetime(2026, 11, 18, tzinfo=UTC)
_HOURLY = 60


def hourly(values: np.ndarray) -> np.ndarray:
    return values[: len(values) // _HOURLY * _HOURLY].reshape(-1, _HOURLY).mean(axis=1)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(hourly(a), hourly(b))[0, 1])


@pytest.mark.parametrize("seed", range(4))
def test_nothing_reaches_a_limit_in_a_healthy_shop(seed: int) -> None:
    recording = simulate(datetime(2026, 11, 1 + seed, tzinfo=UTC), 5 * 24, 60, seed)
    assert recording.failures() == []


def test_look_alikes_come_near_but_not_to_their_limits(healthy_week: Recording) -> None:
    def highest(service: str, signal: str) -> float:
        entity = healthy_week.entity(service)
        limit = {entity.series[s].signal: entity.complete[at] for s, at in entity.limits()}[signal]
        return float((entity.of(signal) / limit).max())

    assert 0.93 < highest("cache", "redis.memory.usage") < 0.99  # a plateau
    assert 0.3 < highest("worker", "messaging.queue.depth") < 0.8  # nightly batches
    assert 0.6 < highest("api", "db.client.connections.usage") < 0.9  # the evening's peak
    disk = healthy_week.entity("checkout-db").of("system.filesystem.usage")
    rotations = np.flatnonzero(np.diff(disk) < -0.04 * disk[:-1])
    assert len(rotations) > 5  # logs are rotated
    memory = healthy_week.entity("api").of("process.memory.usage")
    assert np.count_nonzero(np.diff(memory) < -0.02 * memory[:-1]) > 100  # garbage is collected


def test_connections_in_use_follow_littles_law(healthy_week: Recording) -> None:
    api, requests = healthy_week.entity("api"), healthy_week.entity("gateway").of("user.requests.rate")
    hold = api.of("db.client.connections.usage") / (requests * 0.5)  # every other request is a transaction
    active = api.of("http.server.active_requests") / requests
    assert np.quantile(hold, [0.01, 0.99]) == pytest.approx([0.6, 0.66], abs=0.06)
    assert active.mean() == pytest.approx(0.5 * hold.mean() + 0.03, rel=0.1)  # L = λ · W once more


def test_load_drives_utilisation_and_latency(healthy_week: Recording) -> None:
    users = healthy_week.entity("gateway").of("user.requests.rate")
    for service in ("gateway", "api"):
        assert correlation(users, healthy_week.entity(service).of("process.cpu.utilization")) > 0.95
    api = healthy_week.entity("api")
    by_load = np.array_split(api.of("http.server.request.duration.p99")[np.argsort(users)], 5)
    assert np.all(np.diff([part.mean() for part in by_load][1:]) > 0)


def test_users_have_days_and_weeks() -> None:
    users = simulate(START, 14 * 24, 300, seed=5).entity("gateway").of("user.requests.rate").reshape(14, 288)
    night, evening = users[:, 42:66].mean(), users[:, 216:246].mean()
    assert evening > 2.5 * night
    weekday = np.array([(3 - 1 + day) % 7 for day in range(14)])  # the first is a Wednesday
    assert users[weekday >= 5].mean() < 0.93 * users[weekday < 5].mean()


def injected(name: str, variant: int = 0, duration: float = 5.0) -> Recording:
    one = Injection(VARIANTS[name][variant], 6 * 3600, duration * 3600)
    return simulate(START, 20, 60, seed=5, injections=[one])


def test_a_slow_provider_slows_who_calls_it_and_holds_connections() -> None:
    recording, usual = injected("slow-dependency"), simulate(START, 20, 60, seed=5)
    late = slice(9 * 60, 10 * 60)
    for service in ("api", "gateway"):
        p99 = "http.server.request.duration.p99"
        assert recording.entity(service).of(p99)[late].mean() > 1.15 * usual.entity(service).of(p99)[late].mean()
    in_use = "db.client.connections.usage"
    assert recording.entity("api").of(in_use)[late].mean() > usual.entity("api").of(in_use)[late].mean() + 1


def test_errors_are_retried() -> None:
    recording = injected("error-climb")
    ratio = recording.entity("api").of("http.server.request.error_ratio")
    count = np.diff(recording.entity("api").of("http.server.request.count"))
    wanted = np.diff(recording.entity("gateway").of("http.server.request.count"))
    k = int(ratio.argmax())
    around = slice(k - 9, k)
    assert ratio[around].mean() > 0.05
    assert count[around].sum() / wanted[around].sum() == pytest.approx(1 + ratio[around].mean(), abs=0.01)


def test_queue_depth_is_what_came_less_what_was_done() -> None:
    worker = injected("queue-backlog").entity("worker")
    depth, done = worker.of("messaging.queue.depth"), worker.of("messaging.process.rate")
    growing = np.flatnonzero((depth > 10_000) & (depth < 90_000) & (np.arange(len(depth)) > 360))[:60]
    arrivals = np.diff(depth)[growing - 1] / 60 + done[growing]
    orders = 0.3 * injected("queue-backlog").entity("gateway").of("user.requests.rate")[growing]
    assert arrivals.mean() == pytest.approx(orders.mean(), rel=0.05)


def test_a_full_disk_stops_writes() -> None:
    recording = injected("disk-filling")
    failed = recording.outcomes[0].failed_at
    assert failed is not None
    k = int((failed - START).total_seconds() / 60)
    assert recording.entity("worker").of("messaging.process.rate")[k + 5] < 1
    assert recording.entity("api").of("http.server.request.error_ratio")[k + 5] > 0.2


def test_counters_and_memory_begin_anew_after_a_restart(two_weeks: Recording) -> None:
    restarts = [h for h in two_weeks.happenings if h.service == "api" and h.kind in ("deployment", "restart")]
    assert len(restarts) > 5
    api = two_weeks.entity("api")
    count, memory = api.of("http.server.request.count"), api.of("process.memory.usage")
    resets = np.flatnonzero(np.diff(count) < 0)
    assert len(resets) == len(np.unique([h.seconds // 60 for h in restarts]))
    assert np.all(count[resets + 1] < 25_000)
    assert np.mean(memory[resets + 1] < memory[resets]) > 0.95
    assert np.all(np.diff(api.starts_ns)[resets] > 0)


def test_samples_are_missing_singly_and_in_gaps(two_weeks: Recording) -> None:
    for entity in two_weeks.entities:
        missing = np.isnan(entity.values)
        assert 0.001 < missing.mean() < 0.02
        assert 2 <= missing.all(axis=0).sum() < 400
        assert not np.isnan(entity.complete).any()


def test_same_arguments_same_arrays_other_seed_other_arrays() -> None:
    one, two, other = (simulate(START, 6, 60, seed) for seed in (1, 1, 2))
    for a, b, c in zip(one.entities, two.entities, other.entities, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        assert not np.array_equal(a.complete, c.complete)
    assert one.happenings == two.happenings


def test_a_failure_leaves_what_was_before_it_untouched() -> None:
    with_it, without = injected("memory-leak"), simulate(START, 20, 60, seed=5)
    for a, b in zip(with_it.entities, without.entities, strict=True):
        np.testing.assert_array_equal(a.complete[:, : 6 * 60 - 1], b.complete[:, : 6 * 60 - 1])


def test_every_signal_is_sent_once_and_finite(healthy_week: Recording) -> None:
    assert [entity.entity for entity in healthy_week.entities] == [f"shop/{service}" for service in SERVICES]
    for service in SERVICES:
        entity = healthy_week.entity(service)
        assert [series.signal for series in entity.series] == [name for name, _, _ in SIGNALS[service]]
        assert entity.complete.shape == (len(entity.series), len(healthy_week.times_ns))
        assert np.isfinite(entity.complete).all()
        assert (entity.complete >= 0).all()
        counters = [i for i, series in enumerate(entity.series) if series.kind is Kind.CUMULATIVE]
        assert len(counters) == (2 if service in ("gateway", "api", "payment") else 0)


def test_another_step_tells_the_same_story() -> None:
    coarse, fine = (simulate(START, 12, step, seed=5) for step in (60, 10))
    for signal in ("process.cpu.utilization", "http.server.request.duration.p99", "db.client.connections.usage"):
        assert fine.entity("api").of(signal).mean() == pytest.approx(coarse.entity("api").of(signal).mean(), rel=0.08)
    assert fine.failures() == []


def test_nothing_to_simulate_and_a_time_without_a_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to simulate"):
        simulate(START, 0)
    with pytest.raises(ValueError, match="time zone"):
        simulate(datetime(2026, 11, 18), 1)


def test_two_weeks_take_seconds() -> None:
    begin = time.process_time()
    simulate(START, 3 * 24, 60, seed=1)
    assert (time.process_time() - begin) / 3 * 14 < 5


def test_a_shop_elsewhere_lives_the_same_day_at_another_time() -> None:
    here = Plan(datetime(2026, 11, 20, 20, tzinfo=UTC), 1, 14, "pool-exhaustion", seed=3).placed(6.0)
    there = Plan(datetime(2026, 11, 20, 9, 30, tzinfo=UTC), 1, 14, "pool-exhaustion", seed=3).placed(6.0)
    assert (here.utc_offset_hours, there.utc_offset_hours) == (0.0, 10.5)
    one, other = here.record(), there.record()
    assert one.times_ns[0] - other.times_ns[0] == 10.5 * 3600 * 1e9
    for a, b in zip(one.entities, other.entities, strict=True):
        np.testing.assert_array_equal(a.complete, b.complete)
    assert (one.failures()[0].begin - other.failures()[0].begin).total_seconds() == 10.5 * 3600


@pytest.mark.parametrize("minutes", [0, 7, 8, 359, 361, 720, 1439])
def test_local_time_differs_by_quarters_of_an_hour_as_on_earth(minutes: int) -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(minutes=minutes)
    offset = utc_offset_hours(at, 6.0)
    assert offset * 4 == round(offset * 4) and -12 <= offset < 12
    away = (minutes / 60 + offset - 6.0 + 12) % 24 - 12
    assert abs(away) <= 0.125


def test_a_release_may_double_the_memory_per_request() -> None:
    at = timedelta(hours=36)
    releases = [Release("api", at.total_seconds())]
    before, after = simulate(START, 72, 60, 3), simulate(START, 72, 60, 3, releases=releases)
    cut = int(at.total_seconds() // 60)
    for service, grows in (("api", True), ("gateway", False)):
        usual, now = (one.entity(service).of("process.memory.usage") for one in (before, after))
        assert np.array_equal(usual[:cut], now[:cut])
        day = slice(cut + 12 * 60, None)  # once caches are warm
        assert (now[day].mean() > 1.04 * usual[day].mean()) == grows
    assert after.failures() == []
    assert any(h.kind == "deployment" and "2 times the memory" in h.text for h in after.happenings)
