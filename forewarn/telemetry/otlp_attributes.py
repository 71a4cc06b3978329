"""Attributes of OTLP as text: what every signal shares."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from forewarn.telemetry.samples import entity_of

MAX_TEXT = 255  # longest name or attribute value that is kept as it is


def attribute_texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Name and text of each attribute; the last one of a name counts."""
    return {clean(attribute.key): text_of(attribute.value) for attribute in attributes}


def resource_entity(resource: Resource) -> str:
    """The entity that a resource names, see `entity_of`."""
    return entity_of({key: bounded(value) for key, value in attribute_texts(resource.attributes).items()})


def text_of(value: AnyValue) -> str:
    """A value as text: strings as they are, numbers and booleans as in JSON, lists and maps as JSON, bytes as hex."""
    plain = _plain(value)
    return clean(plain) if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, sort_keys=True)


def clean(text: str) -> str:
    """The text without NUL, which PostgreSQL cannot store."""
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def bounded(text: str) -> str:
    """The text, or its beginning and a digest of the whole where it is longer than an index key may be."""
    if len(text) <= MAX_TEXT:
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return f"{text[: MAX_TEXT - 17]}~{digest}"


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "array_value":
        return [_plain(v) for v in value.array_value.values]
    if kind == "kvlist_value":
        return {v.key.replace("\x00", "\ufffd"): _plain(v.value) for v in value.kvlist_value.values}
    if kind == "bytes_value":
        return value.bytes_value.hex()
    plain = getattr(value, kind)
    return clean(plain) if isinstance(plain, str) else plain
