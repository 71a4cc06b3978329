"""Reads a request's body within its limits of size and time, and unpacks it."""

import asyncio
import zlib

import cramjam
from starlette.requests import ClientDisconnect, Request

from forewarn.services.gateway.answers import Refused

_READ_SECONDS = 30.0
_WINDOW_BYTES = 64 * 1024
_MOST_MEMBERS = 1000  # of a gzip body; whoever writes pieces has few, and an empty one costs as much as a full one


async def read_body(request: Request, limit: int) -> bytes:
    """The body as it was sent. Raises Refused: 413 beyond `limit` bytes, 408 if it takes too long."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError as error:
        raise Refused(408, f"the body did not arrive within {_READ_SECONDS:.0f} s") from error
    except ClientDisconnect as error:
        raise Refused(400, "the connection was closed before the body was complete") from error
    return bytes(body)


async def read_small_body(request: Request, limit: int) -> bytes:
    """As `read_body`, at doors whose limit is no setting."""
    try:
        return await read_body(request, limit)
    except Refused as refusal:
        if refusal.status != 413:
            raise
        raise Refused(413, f"the body is larger than {limit} bytes") from None


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding, never more than `limit` bytes of it in memory.

    Raises Refused: 415 for an unknown encoding, 413 beyond the limit, 400 for damaged data.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _gunzip(body, limit)
    if encoding == "deflate":
        return _undeflate(body, limit)
    if encoding == "zstd":
        return _unpack_zstd(body, limit)
    if encoding == "snappy":
        return _unpack_snappy(body, limit)
    raise Refused(415, f"Content-Encoding '{encoding}' is not known; use gzip, deflate, zstd or snappy")


def _gunzip(body: bytes, limit: int) -> bytes:
    """All members of a gzip body, one after the other. Work grows with the body, not with its members."""
    unpacked, at, members = bytearray(), 0, 0
    while at < len(body):
        members += 1
        if members > _MOST_MEMBERS:
            raise Refused(400, f"the gzip body has more than {_MOST_MEMBERS} members")
        at = _inflate(body, at, 16 + zlib.MAX_WBITS, limit, unpacked)
    return bytes(unpacked)


def _undeflate(body: bytes, limit: int) -> bytes:
    """One stream, with zlib's header or without, as some send it."""
    zlib_header = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
    unpacked = bytearray()
    if _inflate(body, 0, zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS, limit, unpacked) < len(body):
        raise Refused(400, "the compressed body is damaged: something follows its end")
    return bytes(unpacked)


def _inflate(body: bytes, at: int, window_bits: int, limit: int, unpacked: bytearray) -> int:
    """Add the stream that begins at `at` to `unpacked`; where it ends in the body. Raises Refused."""
    stream = zlib.decompressobj(window_bits)
    try:
        while not stream.eof:
            piece = body[at : at + _WINDOW_BYTES]  # zlib copies what is left after a stream's end
            if not piece:
                raise Refused(400, "the compressed body is cut off")
            unpacked += stream.decompress(piece, limit + 1 - len(unpacked))
            if len(unpacked) > limit:
                raise _too_large(limit)
            at += len(piece) - len(stream.unused_data)
    except zlib.error as error:
        raise Refused(400, f"the compressed body is damaged: {error}") from error
    return at


def _unpack_zstd(body: bytes, limit: int) -> bytes:
    room = bytearray(limit + 1)
    try:
        size = cramjam.zstd.decompress_into(body, room)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):  # it does not fit
            raise _too_large(limit) from error
        raise Refused(400, f"the compressed body is damaged: {error}") from error
    if size > limit:
        raise _too_large(limit)
    return bytes(memoryview(room)[:size])


def _unpack_snappy(body: bytes, limit: int) -> bytes:
    """Snappy's block format, as Prometheus and Loki send it."""
    try:
        if cramjam.snappy.decompress_raw_len(body) > limit:
            raise _too_large(limit)
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise Refused(400, f"the compressed body is damaged: {error}") from error


def _too_large(limit: int) -> Refused:
    return Refused(
        413, f"the body is larger than {limit} bytes (after decompression); send smaller batches "
        "or raise FOREWARN_GATEWAY_MAX_BODY_BYTES"
    )  # fmt: skip
