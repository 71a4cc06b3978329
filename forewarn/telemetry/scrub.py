"""Takes secrets and personal data out of logs, spans and activity before they are put on the log."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from forewarn.telemetry.activity import ActivityEvent
from forewarn.telemetry.otlp_split import Signal, parse
from forewarn.telemetry.scrub_rules import DEFAULTS, Rule, plain_key

Hits = Counter[str]  # replacements by rule
_IDENTITY = "service."  # names the entity, which must be the same in every signal


class Scrubber:
    """Applies rules; holds no state, so that threads may share it. Without rules, everything stays as it is."""

    def __init__(self, rules: Iterable[Rule] = DEFAULTS) -> None:
        self._rules = tuple(rules)
        self.rules = tuple(rule.name for rule in self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def otlp(self, signal: Signal, payload: bytes) -> tuple[bytes, Hits]:
        """A request of logs or traces without what the rules name, and how often each applied.

        The bytes come back as they are, undecoded, where no rule can apply; metrics always do.
        Raises TelemetryError where they are no such request.
        """
        rules = self._possible(payload) if signal != "metrics" else ()
        if not rules:
            return payload, Hits()
        walk = _Walk(rules)
        request: Any = parse(signal, payload)
        for part in request.resource_logs if signal == "logs" else request.resource_spans:
            walk.attributes(part.resource.attributes, spared=_IDENTITY)
            for scope in part.scope_logs if signal == "logs" else part.scope_spans:
                walk.attributes(scope.scope.attributes)
                walk.records(scope.log_records) if signal == "logs" else walk.spans(scope.spans)
        return (request.SerializeToString(), walk.hits) if walk.hits else (payload, walk.hits)

    def text(self, text: str) -> tuple[str, Hits]:
        """A text without what the rules name."""
        walk = _Walk(self._possible(text.encode("utf-8", "replace")))
        return walk.text(text), walk.hits

    def raw(self, value: bytes) -> tuple[bytes, Hits]:
        """Bytes that could not be read, as they go to dead_letters: as text, whatever they are."""
        walk = _Walk(self._possible(value))
        return walk.text(value.decode("latin-1")).encode("latin-1", "replace"), walk.hits

    def activity(self, events: list[ActivityEvent]) -> tuple[list[ActivityEvent], Hits]:
        """Events whose action and user_hash hold none of it: a sender may have taken an address for a hash."""
        walk, rules = _Walk(()), self._rules
        found = []
        for event in events:
            walk.rules = self._possible(f"{event.action}\n{event.user_hash or ''}".encode("utf-8", "replace"))
            if walk.rules:
                user = event.user_hash and walk.text(event.user_hash)
                event = msgspec.structs.replace(event, action=walk.text(event.action), user_hash=user)
            found.append(event)
        return (found if rules else events), walk.hits

    def _possible(self, payload: bytes) -> tuple[Rule, ...]:
        """Rules of which a hint is in the bytes: a search for a few short texts costs next to nothing."""
        if not self._rules:
            return ()
        lower, looked = payload.lower(), dict[bytes, bool]()
        return tuple(rule for rule in self._rules if _may_apply(rule, lower, looked))


def _may_apply(rule: Rule, lower: bytes, looked: dict[bytes, bool]) -> bool:
    """looked: hints that were looked for, as several rules share some."""
    for hint in rule.byte_hints:
        if hint not in looked:
            looked[hint] = hint in lower
    if rule.byte_hints and not any(looked[hint] for hint in rule.byte_hints):
        return False
    return rule.byte_probe is None or rule.byte_probe.search(lower) is not None


class _Walk:
    """Goes through the texts of one request, changes them in place and counts."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self._keys = {key: rule for rule in reversed(rules) for key in rule.keys}
        self.hits = Hits()

    def text(self, text: str) -> str:
        """The text, replaced."""
        if not text:
            return text
        lower = text.lower()
        for rule in self.rules:
            if rule.pattern and (not rule.hints or any(hint in lower for hint in rule.hints)):
                text = rule.expression.sub(partial(self._replace, rule), text)
        return text

    def _replace(self, rule: Rule, match: re.Match[str]) -> str:
        kept = match["keep"] if rule.keep else ""
        if rule.valid is not None and not rule.valid(match[0][len(kept) :]):
            return match[0]
        self.hits[rule.name] += 1
        return kept + rule.text

    def records(self, records: Any) -> None:
        """Bodies and attributes of log records."""
        for record in records:
            self._value(record.body)
            self.attributes(record.attributes)

    def spans(self, spans: Any) -> None:
        """Names, states and attributes of spans, of their events and links."""
        for span in spans:
            span.name = self.text(span.name)
            self.attributes(span.attributes)
            if span.HasField("status"):
                span.status.message = self.text(span.status.message)
            for event in span.events:
                event.name = self.text(event.name)
                self.attributes(event.attributes)
            for link in span.links:
                self.attributes(link.attributes)

    def attributes(self, attributes: Iterable[KeyValue], spared: str = "") -> None:
        """Values of attributes; those whose names begin with `spared` stay."""
        for attribute in attributes:
            if spared and attribute.key.startswith(spared):
                continue
            rule = self._keys.get(plain_key(attribute.key)) if self._keys else None
            if rule is None:
                self._value(attribute.value)
            elif attribute.value.string_value != rule.text and attribute.value.WhichOneof("value") is not None:
                attribute.value.Clear()
                attribute.value.string_value = rule.text
                self.hits[rule.name] += 1

    def _value(self, value: AnyValue) -> None:
        kind = value.WhichOneof("value")
        if kind == "string_value":
            text = value.string_value
            changed = self.text(text)
            if changed != text:
                value.string_value = changed
        elif kind == "kvlist_value":
            self.attributes(value.kvlist_value.values)
        elif kind == "array_value":
            for each in value.array_value.values:
                self._value(each)
