"""Log records of one entity to signals: rates, severities, templates, and how unexpected one was after another."""

from typing import Self

import msgspec

from forewarn.telemetry.connectors import names
from forewarn.telemetry.connectors.followers import Followers
from forewarn.telemetry.connectors.log_text import message_of
from forewarn.telemetry.connectors.meter import Key, Values, known_by, slot
from forewarn.telemetry.connectors.options import NANOSECONDS, Options
from forewarn.telemetry.connectors.templates import Template, Templates
from forewarn.telemetry.otlp_logs import LogRecord

MOST_TRACKED = 10  # templates of an entity that have a rate of their own at a time
_ERROR_WEIGHT = 10  # a template of errors is worth tracking like one with ten times its lines
_FEWEST_JUDGED = 5  # lines of a bucket below which a share of them says nothing
_OUTGROWN = 2.0  # a template takes the place of another that has less than a half of its weight
_SEVERITIES = {
    "TRACE": "TRACE", "DEBUG": "DEBUG", "INFO": "INFO", "INFORMATION": "INFO", "NOTICE": "INFO",
    "WARN": "WARN", "WARNING": "WARN", "ERROR": "ERROR", "ERR": "ERROR", "SEVERE": "ERROR",
    "FATAL": "FATAL", "CRITICAL": "FATAL", "CRIT": "FATAL", "ALERT": "FATAL", "EMERG": "FATAL", "PANIC": "FATAL",
}  # fmt: skip
_UNSPECIFIED = "UNSPECIFIED"
_ERRORS = ("ERROR", "FATAL")


class LogBucket(msgspec.Struct):
    """Counts of one bucket, by severity and by template id; `new`: templates never seen before.

    pairs: template id -> id of the one after it -> how often.
    """

    records: int = 0
    new: int = 0
    severities: dict[str, int] = {}
    templates: dict[str, int] = {}
    pairs: dict[str, dict[str, int]] = {}


class LogMeter(msgspec.Struct):
    """Counts the log records of an entity.

    severities: when each came first. tracked: template id -> (weight when it was last seen, when it came first).
    last: template id of the line before.
    """

    entity: str
    began: int
    templates: Templates
    severities: dict[str, int] = {}
    tracked: dict[str, tuple[int, int]] = {}
    followers: Followers = msgspec.field(default_factory=Followers)
    last: str = ""

    @classmethod
    def begin(cls, entity: str, time: int) -> Self:
        """See `Meter`."""
        return cls(entity, time, Templates())

    def bucket(self) -> LogBucket:
        """See `Meter`."""
        return LogBucket()

    def count(self, bucket: LogBucket, record: LogRecord, options: Options) -> None:
        """See `Meter`."""
        severity = _SEVERITIES.get(record.severity, _UNSPECIFIED)
        message = message_of(record.body) or "(empty)"
        template, new = self.templates.learn(self.entity, message, severity, severity in _ERRORS, record.time)
        bucket.records += 1
        bucket.new += new
        bucket.severities[severity] = bucket.severities.get(severity, 0) + 1
        bucket.templates[template.id] = bucket.templates.get(template.id, 0) + 1
        slot(self.severities, severity, record.time, len(_SEVERITIES))
        self._track(template)
        self._follow(bucket, template.id)

    def close(self, bucket: LogBucket, end: int, options: Options) -> Values:
        """See `Meter`. Without a record there is no error ratio; while templates are learned none is new, and nothing
        is unexpected. Neighbours are judged and learned bucket by bucket, however the lines came in messages."""
        width = options.bucket
        judged, unexpected = self.followers.judge(bucket.pairs)
        self.followers.learn(bucket.pairs)
        values: Values = {(names.LOG_RATE, ()): bucket.records / width}
        if bucket.records:
            errors = sum(bucket.severities.get(severity, 0) for severity in _ERRORS)
            values[names.LOG_ERROR_RATIO, ()] = errors / bucket.records
        values[names.LOG_TEMPLATES_DISTINCT, ()] = float(len(bucket.templates))
        if end >= self.began + options.learning * NANOSECONDS:
            values[names.LOG_TEMPLATES_NEW, ()] = float(bucket.new)
            if judged >= _FEWEST_JUDGED:
                values[names.LOG_SURPRISE, ()] = unexpected / judged
        for severity in known_by(end, self.severities, ()):
            values[_severity(severity)] = bucket.severities.get(severity, 0) / width
        for template in (name for name, (_, first) in self.tracked.items() if first < end):
            values[_template(template)] = bucket.templates.get(template, 0) / width
        return values

    def _follow(self, bucket: LogBucket, template: str) -> None:
        """Note a line with the one before it."""
        if self.last:
            following = bucket.pairs.setdefault(self.last, {})
            following[template] = following.get(template, 0) + 1
        self.last = template

    def _track(self, template: Template) -> None:
        """Keep the templates with the most lines; one that is in stays until another has twice its weight."""
        weight = template.count + (_ERROR_WEIGHT - 1) * template.errors
        if template.id in self.tracked or len(self.tracked) < MOST_TRACKED:
            self.tracked[template.id] = weight, template.first_seen
            return
        least = min(self.tracked, key=self.tracked.__getitem__)
        if weight > _OUTGROWN * self.tracked[least][0]:
            del self.tracked[least]
            self.tracked[template.id] = weight, template.first_seen


def _severity(severity: str) -> Key:
    return names.LOG_SEVERITY_RATE, (("log.severity", severity),)


def _template(template: str) -> Key:
    return names.LOG_TEMPLATE_RATE, (("log.template.id", template),)
