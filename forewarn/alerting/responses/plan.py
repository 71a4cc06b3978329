"""Exactly what a response would do about an incident: the request or the command, without its secrets."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from forewarn.alerting.responses.placeholders import (
    LABEL,
    NAMES,
    fill_argument,
    fill_body,
    fill_variable,
    variables,
)
from forewarn.alerting.responses.response import Command, Response, Secret, Webhook
from forewarn.alerting.wording import one_line
from forewarn.incidents.records import Incident

SCHEMA_VERSION = 1
Plan = Mapping[str, Any]


def values_of(
    incident: Incident, labels: Mapping[str, str], probability: float, url: str, run: str, clock: datetime | None = None
) -> dict[str, str]:
    """What placeholders stand for. labels: of the incident, with those of the alerting file. run: of this response.

    clock: event clock of the namespace; None: as at the prediction.
    """
    ttf = incident.time_left(clock)
    left = "" if ttf is None or ttf.p50 is None else f"{ttf.p50:.0f}"
    own = {LABEL + name: value for name, value in labels.items()}
    return {
        **own,
        "entity": incident.entity,
        "namespace": labels.get("namespace", ""),
        "name": labels.get("name", ""),
        "signal": incident.signal,
        "mode": incident.mode,
        "severity": incident.severity,
        "state": incident.state,
        "incident": incident.incident_id,
        "title": one_line(incident.title),
        "probability": f"{probability:.4f}",
        "seconds_left": left,
        "url": url,
        "run": run,
    }


def plan_of(response: Response, values: Mapping[str, str]) -> dict[str, Any]:
    """What will be done, as data. Raises ValueRefused where a value may not stand where it would."""
    if response.webhook is not None:
        return _request(response, response.webhook, values)
    assert response.command is not None
    return _command(response.command, values)


def _request(response: Response, webhook: Webhook, values: Mapping[str, str]) -> dict[str, Any]:
    body = _usual_body(response, values) if webhook.body is None else fill_body(webhook.body, values)
    return {
        "kind": "webhook",
        "method": webhook.method,
        "url": webhook.url,
        "headers": {name: _named(value) for name, value in webhook.headers.items()},
        "body": json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        "sign": webhook.sign,
        "timeout_seconds": webhook.timeout.total_seconds(),
        "attempts": webhook.attempts,
    }


def _usual_body(response: Response, values: Mapping[str, str]) -> dict[str, Any]:
    labels = {name.removeprefix(LABEL): values[name] for name in sorted(values) if name.startswith(LABEL)}
    plain = {name: values[name] for name in NAMES}
    return {"schema_version": SCHEMA_VERSION, "response": response.name, **plain, "labels": labels}


def _command(command: Command, values: Mapping[str, str]) -> dict[str, Any]:
    own = {
        name: _named(value) if isinstance(value, Secret) else fill_variable(value, values)
        for name, value in command.env.items()
    }
    return {
        "kind": "command",
        "argv": [command.argv[0], *(fill_argument(argument, values) for argument in command.argv[1:])],
        "env": {**variables(values), **own},
        "cwd": command.cwd,
        "timeout_seconds": command.timeout.total_seconds(),
    }


def _named(value: str | Secret) -> Any:
    return value if isinstance(value, str) else {"secret": value.secret, "prefix": value.prefix}


def same(one: Plan, other: Plan) -> bool:
    """Whether both do the same."""
    return fingerprint(one) == fingerprint(other)


def fingerprint(plan: Plan) -> str:
    """A digest of all of it."""
    return hashlib.sha256(msgspec.json.encode(plan, order="deterministic")).hexdigest()


def resolved(value: Any, secrets: Mapping[str, str]) -> str:
    """A header or variable with its secret put in. Raises KeyError for a secret that is not known."""
    return value if isinstance(value, str) else f"{value['prefix']}{secrets[value['secret']]}"


def lines_of(plan: Plan, whole: bool = False) -> list[str]:
    """For people, with the names of secrets in their place. whole: with the variables that every command has."""
    if plan["kind"] == "webhook":
        signed = f"X-Forewarn-Signature: signed with the secret {plan['sign']}"
        return [
            f"{plan['method']} {plan['url']}",
            "Content-Type: application/json",
            *(f"{name}: {_shown(value)}" for name, value in plan["headers"].items()),
            *([signed] if plan["sign"] else []),
            plan["body"],
        ]
    own = {name: value for name, value in plan["env"].items() if whole or not name.startswith("FOREWARN_")}
    return [
        " ".join(_quoted(argument) for argument in plan["argv"]),
        *(f"{name}={_shown(value)}" for name, value in own.items()),
        f"in {plan['cwd']}, at most {plan['timeout_seconds']:g} s",
    ]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else f"{value['prefix']}<secret {value['secret']}>"


def _quoted(argument: str) -> str:
    return shlex.quote(argument)
