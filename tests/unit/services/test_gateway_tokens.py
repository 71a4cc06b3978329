"""Tokens of the gateway's doors."""

import pytest

from forewarn.services.gateway.answers import Refused
from forewarn.services.gateway.tokens import DOORS, DoorTokens


def _open(tokens: DoorTokens, door: str, shown: str) -> bool:
    try:
        tokens.check(door, shown)
    except Refused as refusal:
        assert refusal.status == 401
        return False
    return True


def test_without_any_token_every_door_is_open() -> None:
    tokens = DoorTokens("", "")
    assert not tokens.required
    assert all(_open(tokens, door, "") for door in DOORS)


def test_the_general_token_opens_every_door_and_nothing_else_does() -> None:
    tokens = DoorTokens("general", "")
    for door in DOORS:
        assert _open(tokens, door, "Bearer general")
        assert not any(
            _open(tokens, door, shown) for shown in ("", "Bearer", "Bearer genera", "Basic general", "general")
        )


def test_a_door_with_a_token_of_its_own_and_the_others_closed() -> None:
    tokens = DoorTokens("", "loki=l-1, metrics=m-1")
    assert _open(tokens, "loki", "bearer l-1")
    assert not _open(tokens, "loki", "Bearer m-1")
    assert _open(tokens, "grpc_metrics", "Bearer m-1")
    assert not _open(tokens, "activity", "Bearer l-1")
    assert not _open(tokens, "activity", "Bearer ")


def test_both_kinds_hold_together() -> None:
    tokens = DoorTokens("general", "loki=l-1")
    assert _open(tokens, "loki", "Bearer l-1") and _open(tokens, "loki", "Bearer general")
    assert not _open(tokens, "metrics", "Bearer l-1")


@pytest.mark.parametrize(
    ("text", "says"), [("loki", "entry 1"), ("metrics=a,door=b", "'door'"), ("loki=", "empty token"), ("=secret", "''")]
)
def test_what_cannot_be_read_is_named_without_the_secret(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        DoorTokens("", text)
    assert "secret" not in str(error.value)
