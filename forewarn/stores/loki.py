"""Log records into Loki by its push API.

https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs. Loki holds equal lines of a stream with equal
times once, so that pushing the same records again changes nothing.
"""

import gzip
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import msgspec

from forewarn.telemetry.otlp_logs import LogRecord
from forewarn.telemetry.samples import namespace_of

_PUSH_LINES = 5_000
_PUSH_BYTES = 2 * 2**20  # Loki takes 4 MB unless told otherwise
_LONGEST_LINE = 200_000  # Loki's limit is 256 kB
_STREAMS_KEPT = 20_000
_RETRY_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_SEVERITIES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")


class LokiBusyError(Exception):
    """Loki is away, or takes nothing now: push it again."""


class LokiRefusedError(Exception):
    """Loki does not take these records: pushing them again would not help."""


class LokiLogs:
    """Pushes log records. One connection; not for several threads at once.

    A stream has the labels `namespace`, `entity` and `level` alone, so that there are at most seven for each entity;
    attributes and ids are structured metadata (Loki 3, or 2.9 with `allow_structured_metadata`). Beyond 20,000
    entities all others share the entity `other`; their own name is in the metadata.
    """

    def __init__(
        self, url: str, tenant: str | None = None, token: str | None = None, timeout_seconds: float = 10.0
    ) -> None:
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        headers |= {"x-scope-orgid": tenant} if tenant else {}
        headers |= {"authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        self._client = httpx.Client(headers=headers, timeout=timeout_seconds, trust_env=False)
        self._entities: set[str] = set()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def push(self, records: Iterable[LogRecord]) -> None:
        """Return once Loki has all of them. Raises LokiBusyError, LokiRefusedError."""
        for part in _parts(records):
            self._push(part)

    def _push(self, records: list[LogRecord]) -> None:
        streams: dict[tuple[str, str], list[Any]] = {}
        for record in records:
            streams.setdefault((self._entity(record.entity), _level(record.severity)), []).append(_value(record))
        body = {
            "streams": [
                {
                    "stream": {"namespace": namespace_of(entity), "entity": entity, "level": level},
                    "values": sorted(values, key=lambda value: int(value[0])),
                }
                for (entity, level), values in streams.items()
            ]
        }
        content = gzip.compress(msgspec.json.encode(body), 1)
        try:
            response = self._client.post(f"{self.url}/loki/api/v1/push", content=content)
        except httpx.TransportError as error:
            raise LokiBusyError(f"no Loki answers at {self.url}: {str(error) or type(error).__name__}") from error
        if response.is_success:
            return
        reason = f"Loki at {self.url} answers {response.status_code}: {response.text.strip()[:300]}"
        if response.status_code in _RETRY_STATUS or response.status_code in (401, 403, 404):
            raise LokiBusyError(reason)  # a wrong address or token is mended by people: nothing may be lost meanwhile
        raise LokiRefusedError(reason)

    def _entity(self, entity: str) -> str:
        if entity not in self._entities and len(self._entities) >= _STREAMS_KEPT:
            return "other"
        self._entities.add(entity)
        return entity


def _parts(records: Iterable[LogRecord]) -> Iterator[list[LogRecord]]:
    part: list[LogRecord] = []
    size = 0
    for record in records:
        length = len(record.body) + sum(len(k) + len(v) for k, v in record.attributes.items())
        if part and (len(part) >= _PUSH_LINES or size + length > _PUSH_BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += length
    if part:
        yield part


def _value(record: LogRecord) -> tuple[str, str, dict[str, str]]:
    metadata = {key: str(value) for key, value in record.attributes.items()}
    line = record.body if len(record.body) <= _LONGEST_LINE else record.body[:_LONGEST_LINE] + "…"
    return str(record.time), line, metadata | {"entity_name": record.entity}


def _level(severity: str) -> str:
    name = severity.upper()
    return next((known.lower() for known in _SEVERITIES if name.startswith(known)), "unknown")
