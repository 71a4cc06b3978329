"""Damaged requests: cut at every byte, bits flipped, lengths that lie, bombs, encodings and media types that lie."""

import gzip
import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cramjam

MANY = 200 * 2**20
_ENCODINGS = ("gzip", "x-gzip", "deflate", "zstd", "snappy", "identity", "br", "gzip, gzip", "x" * 2000, "GZIP")
_TYPES = ("", "text/plain", "application/json", "application/x-protobuf", "application/grpc", "a" * 500, "x;proto=y")
_ODD: tuple[Any, ...] = (
    None, True, "", "\ud800", "\x00", "x" * 70_000, -1, 0, 2**63, 2**64, 10**400, 1e308, [], {}, [[]], {"a": {}}, "NaN",
    "Infinity", "-5", "0x1", "1e3", "2026-13-45T99:99:99Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
)  # fmt: skip
_JSON = (
    b"", b" ", b"null", b"0", b"[]", b"{}", b'""', b"[null]", b"[[]]", b"{", b"[1,", b'{"a":}', b"\xff\xfe{\x00}\x00",
    b'{"\xff": 1}', b"NaN", b"[NaN, Infinity, -Infinity]", b"1e999", b"9" * 5000, b"\xef\xbb\xbf{}", b'{"a":1,"a":2}',
    b"[" * 100_000, b'{"a":' * 100_000, b"[" * 900 + b"]" * 900, b"\x00", b"{}{}", b"{}\n{}\n", b'"\\ud800"',
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A request as it goes over the wire; `headers` replace the door's own."""

    name: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def damaged(seed: bytes, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """A message cut at every byte, and with every byte changed in five ways."""
    for i in range(len(seed)):
        yield f"cut at {i}", seed[:i]
        yield f"bit of {i}", seed[:i] + bytes([seed[i] ^ 1 << rng.randrange(8)]) + seed[i + 1 :]
        yield f"255 at {i}", seed[:i] + b"\xff" + seed[i + 1 :]
        yield f"huge varint at {i}", seed[:i] + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + seed[i + 1 :]
        yield f"endless varint at {i}", seed[:i] + b"\x80" * 11 + seed[i:]
        yield f"length 2 GB at {i}", seed[:i] + b"\xff\xff\xff\xff\x07" + seed[i + 1 :]
        yield f"twice from {i}", seed[:i] + seed
        yield f"without {i}", seed[:i] + seed[i + 1 :]


def groups() -> Iterator[tuple[str, bytes]]:
    """Legal but unusual protobuf: groups, unknown fields, field 0, depth."""
    yield "group", b"\x0b\x0c"
    yield "unknown field", b"\xf8\xff\xff\xff\x0f\x01"
    yield "field 0", b"\x02\x01a"
    yield "wire type 7", b"\x0f\x01"
    yield "zeros", bytes(1000)
    yield "noise", random.Random(3).randbytes(5000)
    for depth in (10, 100, 1000, 20_000):
        message = b""
        for _ in range(depth):
            message = b"\x0a" + _varint(len(message)) + message
        yield f"field 1 in itself {depth} times", message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def odd_json(seed: bytes) -> Iterator[tuple[str, bytes]]:
    """Bodies that are no message, and the seed with every value replaced by every odd one."""
    for i, body in enumerate(_JSON):
        yield f"JSON {i}", body
    whole = json.loads(seed)
    for path in _paths(whole):
        for n, odd in enumerate(_ODD):
            yield f"{'.'.join(map(str, path))} = odd {n}", json.dumps(_replaced(whole, path, odd)).encode()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _paths(part, (*path, key))


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], new)
    return copy


def lies(seed: bytes) -> Iterator[Case]:
    """Encodings and media types that the body does not have, damaged compression, bombs."""
    for encoding in _ENCODINGS:
        yield Case(f"says {encoding[:10]}", seed, {"content-encoding": encoding})
        yield Case(f"says {encoding[:10]}, empty", b"", {"content-encoding": encoding})
    for media_type in _TYPES:
        yield Case(f"is {media_type[:20]}", seed, {"content-type": media_type})
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(seed), "deflate": zlib.compress(seed), "zstd": bytes(cramjam.zstd.compress(seed)),
        "snappy": bytes(cramjam.snappy.compress_raw(seed)),
    }  # fmt: skip
    for encoding, body in packed.items():
        yield Case(f"{encoding}", body, {"content-encoding": encoding})
        yield Case(f"{encoding} twice", body + body, {"content-encoding": encoding})
        yield Case(f"{encoding} and garbage", body + b"garbage", {"content-encoding": encoding})
        for i in range(0, len(body), 7):
            yield Case(f"{encoding} cut at {i}", body[:i], {"content-encoding": encoding})
            flipped = body[:i] + bytes([body[i] ^ 0x55]) + body[i + 1 :]
            yield Case(f"{encoding} flipped at {i}", flipped, {"content-encoding": encoding})
    yield Case("raw deflate", raw.compress(seed) + raw.flush(), {"content-encoding": "deflate"})


@cache
def bombs() -> tuple[Case, ...]:
    """Small bodies that unpack to 200 MB, or say so."""
    return tuple(_bombs())


def _bombs() -> Iterator[Case]:
    yield Case("gzip bomb", gzip.compress(bytes(MANY), 9), {"content-encoding": "gzip"})
    yield Case("gzip of 30 bombs", gzip.compress(bytes(MANY // 30), 9) * 30, {"content-encoding": "gzip"})
    yield Case("deflate bomb", zlib.compress(bytes(MANY), 9), {"content-encoding": "deflate"})
    yield Case("zstd bomb", bytes(cramjam.zstd.compress(bytes(MANY))), {"content-encoding": "zstd"})
    yield Case("snappy bomb", bytes(cramjam.snappy.compress_raw(bytes(MANY))), {"content-encoding": "snappy"})
    yield Case("snappy that says 4 GB", b"\xff\xff\xff\xff\x0f" + bytes(50), {"content-encoding": "snappy"})
    yield Case("too large", bytes(17 * 2**20))
