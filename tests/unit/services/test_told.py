"""What is read back after a restart: by partition, by namespace, the last of each signal."""

import pytest
from incident_records import at, clock

from forewarn.risk.records import FailureObserved, Recovered, Watermark, encode
from forewarn.services.told import Told
from forewarn.telemetry import topics


def told(*records: Watermark | FailureObserved | Recovered) -> Told:
    found = Told()
    for record in records:
        found.see(topics.OBSERVATIONS, encode(record))
    return found


def test_each_partition_goes_on_from_its_own_watermark() -> None:
    found = told(Watermark("shop", at(5), [0, 1]), Watermark("shop", at(9), [1]), Watermark("shop", at(7), [0, 1]))
    pasts = [found.past("shop", partition) for partition in (0, 1, 2)]
    assert [past and past.scored_until for past in pasts] == [at(7), at(9), None]
    assert found.past("bank", 0) is None


def test_a_watermark_without_partitions_is_of_all() -> None:
    past = told(clock(5)).past("shop", 3)
    assert past is not None
    assert past.scored_until == at(5)


def test_the_last_event_of_a_signal_counts() -> None:
    failure = FailureObserved("shop/api", "x", "mode", at(1), 2.0, 1.0)
    recovered = Recovered("shop/api", "x", "mode", at(20))
    past = told(failure, recovered, FailureObserved("bank/api", "x", "mode", at(2), 2.0, 1.0)).past("shop", 0)
    assert past is not None
    assert past.events == {("shop/api", "x"): recovered}


@pytest.mark.parametrize("topic", [topics.RISKS, topics.OBSERVATIONS])
@pytest.mark.parametrize("payload", [None, b"", b"\0" * 9, b'{"zzz":' + b"[" * 100_000, b"[" * 100_000, b"{}"])
def test_what_cannot_be_read_is_a_value_error_and_changes_nothing(topic: str, payload: bytes | None) -> None:
    found = Told()
    with pytest.raises(ValueError, match=r"\w"):
        found.see(topic, payload)
    assert found == Told()
