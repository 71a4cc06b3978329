"""What the connector has counted, kept in PostgreSQL together with how far it has read."""

from collections.abc import Mapping
from typing import Any

import msgspec
import psycopg
import structlog

from forewarn.stores.connector_states import read_states, save
from forewarn.stores.offsets import Place, read_offsets
from forewarn.telemetry.connectors.stream import SignalStream

logger = structlog.get_logger(__name__)

Streams = Mapping[Place, SignalStream[Any]]


class Checkpoints:
    """Reads and writes states and offsets of the group over a connection that is made anew after an error."""

    def __init__(self, postgres_url: str, group: str) -> None:
        self._url = psycopg.conninfo.make_conninfo(postgres_url, connect_timeout=5, application_name="connector")
        self._group = group
        self._connection: psycopg.Connection | None = None
        self._expected: dict[Place, int] = {}

    def restore(self, streams: Streams) -> dict[Place, int]:
        """Bring new streams to where they were saved; the offsets they go on from. Raises psycopg.Error."""
        try:
            connection = self._connected()
            self._expected = read_offsets(connection, self._group)
            for place, stream in streams.items():
                _restore(stream, read_states(connection, place), place)
            connection.commit()
        except psycopg.Error:
            self.disconnect()
            raise
        return {place: offset for place, offset in self._expected.items() if place in streams}

    def write(self, streams: Streams, reached: Mapping[Place, int]) -> None:
        """Save what changed in the streams, and the offsets reached. Raises psycopg.Error, Overtaken."""
        states = {place: streams[place].dump() for place in reached}
        forgotten = {place: streams[place].forgotten for place in reached}
        found = ((e, t) for place in reached for e, known in streams[place].templates() for t in known.touched_ones())
        try:
            save(self._connected(), self._group, self._expected, reached, states, forgotten, list(found))
        except psycopg.Error:
            self.disconnect()
            raise
        self._expected |= reached
        for place in reached:
            streams[place].saved()

    def disconnect(self) -> None:
        """Close the connection; the next use makes another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connected(self) -> psycopg.Connection:
        if self._connection is None:
            self._connection = psycopg.connect(self._url)
            # State and offsets are lost or kept together, and the log still has what is lost.
            self._connection.execute("set synchronous_commit = off")
            self._connection.commit()
        return self._connection


def _restore(stream: SignalStream[Any], saved: dict[str, bytes], place: Place) -> None:
    try:
        stream.restore(saved)
    except msgspec.MsgspecError as error:
        logger.warning("the saved state cannot be read, counting anew", topic=place.topic, partition=place.partition,
                       reason=str(error))  # fmt: skip
