"""Writes .env.example from the settings: `python -m forewarn.config.example > .env.example`."""

import json
import sys

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from forewarn.config.settings import Settings

_HEAD = """\
# Settings of Forewarn. Copy to .env and take the # off what you change; the environment wins over this file.
# What is left out has the value shown here. `forewarn config` prints what is in force, and where it came from.
#
# `forewarn up` starts a broker, PostgreSQL and a mailbox of its own; it uses yours instead where you set
# FOREWARN_KAFKA_BOOTSTRAP, FOREWARN_POSTGRES_URL or FOREWARN_SMTP_HOST. A port that you set is used or refused;
# one that you do not set may be replaced by a free one.
"""
_TAIL = """
# Read from the environment only:
# FOREWARN_DEBUG=1              a command that fails shows its traceback
# FOREWARN_DATA=../shared/data  folder of recorded data sets, for benchmarks and tests that use them
"""


def example() -> str:
    """The text of .env.example."""
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        assert default is not PydanticUndefined, f"{name} has no default"
        parts.append(f"\n# {field.description}\n# FOREWARN_{name.upper()}={value_text(default)}\n")
    return "".join(parts) + _TAIL


def value_text(value: object) -> str:
    """A setting's value as the environment has it; empty for none."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.stdout.write(example())
