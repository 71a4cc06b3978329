"""Bodies are unpacked within the limit."""

import gzip
import random
import zlib

import cramjam
import pytest

from forewarn.services.gateway.answers import Refused
from forewarn.services.gateway.body import unpack

TEXT = b"telemetry " * 100


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("", TEXT),
        ("GZIP", gzip.compress(TEXT, mtime=0)),
        ("gzip", gzip.compress(TEXT[:500], mtime=0) + gzip.compress(TEXT[500:], mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)[2:-4]),  # without zlib's header, as some send it
        ("zstd", bytes(cramjam.zstd.compress(TEXT))),
    ],
)
def test_encodings(encoding: str, packed: bytes) -> None:
    assert unpack(packed, encoding, len(TEXT)) == TEXT
    if encoding:
        with pytest.raises(Refused) as refusal:
            unpack(packed, encoding, len(TEXT) - 1)
        assert refusal.value.status == 413


@pytest.mark.parametrize(
    ("encoding", "packed", "status"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)[:-9], 400),
        ("gzip", b"x", 400),
        ("gzip", gzip.compress(b"", mtime=0) * 1001, 400),
        ("deflate", zlib.compress(TEXT)[:-5], 400),
        ("deflate", zlib.compress(TEXT) + b"x", 400),
        ("deflate", b"\x03\x00\x03\x00", 400),  # two empty streams: deflate has one
        ("zstd", bytes(cramjam.zstd.compress(TEXT))[:-5], 400),
        ("zstd", b"xxxxxxxx", 400),
        ("br", b"x", 415),
    ],
)
def test_damage_is_told(encoding: str, packed: bytes, status: int) -> None:
    with pytest.raises(Refused) as refusal:
        unpack(packed, encoding, 10_000)
    assert refusal.value.status == status


def test_members_and_streams_may_be_longer_than_what_is_looked_at_at_once() -> None:
    noise = random.Random(1).randbytes(200_000)
    packed = gzip.compress(noise, mtime=0) + gzip.compress(b"", mtime=0) * 990 + gzip.compress(TEXT, mtime=0)
    assert unpack(packed, "gzip", 300_000) == noise + TEXT
    assert unpack(zlib.compress(noise), "deflate", 200_000) == noise
