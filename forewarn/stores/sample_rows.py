"""Samples as rows of PostgreSQL's binary COPY format, all of them at once.

Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format". A row of three columns of 8 bytes is 38
bytes long, so that n rows are an array of a packed big-endian record.
"""

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no header extension
_TRAILER = b"\xff\xff"
_ROW = np.dtype(
    [
        ("columns", ">i2"),
        ("id_length", ">i4"),
        ("id", ">i8"),
        ("time_length", ">i4"),
        ("time", ">i8"),
        ("value_length", ">i4"),
        ("value", ">f8"),
    ]
)
_EPOCH_MICROSECONDS = 946_684_800_000_000  # PostgreSQL counts from 2000-01-01


def encode_rows(ids: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64]) -> bytes:
    """Binary COPY data of (series_id, time, value); times in nanoseconds since 1970, kept to the microsecond."""
    rows = np.empty(len(ids), _ROW)
    rows["columns"] = 3
    rows["id_length"] = rows["time_length"] = rows["value_length"] = 8
    rows["id"] = ids
    rows["time"] = times // 1000 - _EPOCH_MICROSECONDS
    rows["value"] = values
    return b"".join((_SIGNATURE, rows.tobytes(), _TRAILER))


def decode_rows(data: bytes | bytearray) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """series_id, time (microseconds since 1970) and value of binary COPY data. Raises ValueError if it is not that."""
    body = len(data) - len(_SIGNATURE) - len(_TRAILER)
    if body < 0 or body % _ROW.itemsize or data[:11] != _SIGNATURE[:11]:
        raise ValueError(f"{len(data)} bytes are no binary COPY data of three columns of 8 bytes")
    rows = np.frombuffer(data, _ROW, body // _ROW.itemsize, len(_SIGNATURE))
    return (
        rows["id"].astype(np.int64),
        rows["time"].astype(np.int64) + _EPOCH_MICROSECONDS,
        rows["value"].astype(np.float64),
    )
