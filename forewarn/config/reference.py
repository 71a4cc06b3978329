"""Writes docs/configuration.md from the settings: `python -m forewarn.config.reference > docs/configuration.md`."""

import re
import sys
import types
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from forewarn.config.example import value_text
from forewarn.config.settings import Settings

_HEAD = """\
# Configuration

Made from the code by `make env-example`; every process reads the same settings. Precedence: environment, then `.env` in
the working directory, then files below `/run/secrets` (`/run/secrets/forewarn_postgres_password`) and
`/etc/forewarn/secrets`, then the defaults here. `forewarn config` prints what is in force and where it came from,
without secrets; `forewarn doctor` finds what does not fit together. A change takes effect when a process starts anew;
the files that FOREWARN_ALERTING, FOREWARN_RULES, FOREWARN_RESPONSES and FOREWARN_SCRUB name are taken up while it
runs. *secret*: never shown in logs, pages or `forewarn config`.
"""
_TAIL = """
## Environment only

| Variable | Meaning |
|---|---|
| `FOREWARN_DEBUG` | 1: a command that fails shows its traceback |
| `FOREWARN_DATA` | folder of recorded data sets, for benchmarks and tests that use them |
"""
# the first setting of each section, in the order of the settings
_SECTIONS = {
    "home": "This machine",
    "kafka_bootstrap": "Broker",
    "postgres_url": "Database",
    "gateway_port": "Doors for telemetry",
    "predictor_port": "Predictor",
    "dashboard_port": "Dashboard",
    "dagster_port": "Dagster and training's store",
    "step_seconds": "Features and series",
    "collector_interval_seconds": "Collector and connector",
    "false_alarm_budget": "Risks and incidents",
    "smtp_host": "E-mail",
    "alerting": "Alerting, rules and responses",
    "slack_webhook_url": "Channels",
    "answer_url": "Answers by link",
    "drain_seconds": "Stopping and keeping",
    "loki_url": "Loki, Prometheus, MLflow",
    "promotion": "Life of a model",
    "metrics_port": "Metrics and logs of our own",
}


def reference() -> str:
    """The text of docs/configuration.md."""
    return _HEAD + "".join(_rows()) + _TAIL


def _rows() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if name in _SECTIONS:
            yield f"\n## {_SECTIONS[name]}\n\n| Variable | Default | Values | Meaning |\n|---|---|---|---|\n"
        default = value_text(field.get_default(call_default_factory=True, validated_data={}))
        shown = f"`{default}`" if default else "none"
        meaning = (field.description or "").replace("|", "\\|")
        yield f"| `FOREWARN_{name.upper()}` | {shown} | {_values(field)} | {meaning} |\n"


def _values(field: FieldInfo) -> str:
    kinds = get_args(field.annotation) if isinstance(field.annotation, types.UnionType) else (field.annotation,)
    words = [_kind(kind) for kind in kinds if kind is not type(None)]
    return ", ".join([*words, *_bounds(field.metadata)])


def _kind(kind: Any) -> str:
    names = {int: "integer", float: "number", bool: "true or false", str: "text", SecretStr: "text, *secret*"}
    return names.get(kind) or ("path" if getattr(kind, "__name__", "") == "Path" else "JSON")


def _bounds(metadata: list[Any]) -> Iterator[str]:
    for one in metadata:
        for attribute, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            if getattr(one, attribute, None) is not None:
                yield f"{sign} {getattr(one, attribute):.15g}"
        if getattr(one, "pattern", None):
            yield " or ".join(f"`{word}`" for word in re.findall(r"[^^$()|]+", str(one.pattern)))


if __name__ == "__main__":
    sys.stdout.write(reference())
