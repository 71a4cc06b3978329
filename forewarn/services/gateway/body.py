"""Reads a request's body within its limits of size and time, and unpacks it."""

import asyncio
import zlib

import cramjam
from starlette.requests import ClientDisconnect, Request

from forewarn.services.gateway.answers import Refused

_READ_SECONDS = 30.0


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


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding, never more than `limit` bytes of it in memory.

    Raises Refused: 415 for an unknown encoding, 413 beyond the limit, 400 for damaged data.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _inflate(body, 16 + zlib.MAX_WBITS, limit)
    if encoding == "deflate":
        zlib_header = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
        return _inflate(body, zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS, limit)
    if encoding == "zstd":
        return _unpack_zstd(body, limit)
    if encoding == "snappy":
        return _unpack_snappy(body, limit)
    raise Refused(415, f"Content-Encoding '{encoding}' is not known; use gzip, deflate, zstd or snappy")


def _inflate(body: bytes, window_bits: int, limit: int) -> bytes:
    unpacked = bytearray()
    try:
        while body:  # a gzip body may have several members
            member = zlib.decompressobj(window_bits)
            unpacked += member.decompress(body, limit + 1 - len(unpacked))
            if len(unpacked) > limit:
                raise _too_large(limit)
            if not member.eof:
                raise Refused(400, "the compressed body is cut off")
            body = member.unused_data
    except zlib.error as error:
        raise Refused(400, f"the compressed body is damaged: {error}") from error
    return bytes(unpacked)


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
