"""A response as a team writes it: for which incidents, what is called or run, and how far it may go by itself."""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from forewarn.alerting.durations import Duration
from forewarn.alerting.policy import SECRET_NAME, MatchField
from forewarn.alerting.responses.placeholders import check_body, check_environment, check_value, whole
from forewarn.alerting.rules.condition import Condition
from forewarn.alerting.rules.syntax import parse

MOST_RESPONSES = 50
LONGEST_RUN = timedelta(hours=1)
# Programs that run what an argument names or holds: text from telemetry must not be that argument.
_RUNNERS = re.compile(
    r"(ba|da|z|k|mk|a|c|tc|fi)?sh|busybox|python[\d.]*|perl|ruby|node|php|lua|[gmn]?awk|env|xargs|sudo|doas|nice|ionice|"
    r"nohup|timeout|setsid|chroot|nsenter|unshare|stdbuf|script|watch|find|parallel|time|systemd-run"
)
_PROGRAM_FOLLOWS = re.compile(r"-[A-Za-z]*[cemErRfF]|--(eval|command|file|exec|require)|-exec(dir)?")
_JOINED_BY_A_SHELL = re.compile(r"(ssh|su|eval)")


def _condition(text: str) -> str:
    tree = parse(text)
    if tree.for_seconds is not None:
        raise ValueError("a response has no 'for': write a rule that holds for so long, and match its incident")
    return text


def _secret_name(name: str) -> str:
    if not re.fullmatch(SECRET_NAME, name):
        raise ValueError(
            "this names a secret of FOREWARN_RESPONSE_SECRETS (a-z, 0-9, -, _); the secret itself is never written here"
        )
    return name


SecretName = Annotated[str, AfterValidator(_secret_name)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Secret(_Part):
    """A text that is not in the file: the secret of this name, with something before it (`Bearer `)."""

    secret: SecretName
    prefix: str = ""


class Limit(_Part):
    """At most so many runs in so much time."""

    runs: int = Field(ge=1, le=1000)
    per: Duration = timedelta(hours=1)


def _timeout(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= LONGEST_RUN:
        raise ValueError("a timeout is longer than nothing and at most 1h")
    return value


Timeout = Annotated[Duration, AfterValidator(_timeout)]


class Webhook(_Part):
    """A request. body: none: what docs/responses.md says. sign: the secret that signs it."""

    url: str
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: dict[str, str | Secret] = Field(default_factory=dict)
    body: dict[str, Any] | None = None
    sign: SecretName | None = None
    timeout: Timeout = timedelta(seconds=10)
    attempts: int = Field(3, ge=1, le=10)

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if not re.fullmatch(r"https?://[^\s{}@]+", self.url):
            raise ValueError("url: write http:// or https://, without placeholders, user or password")
        for name, value in self.headers.items():
            text = value if isinstance(value, str) else value.prefix
            if not re.fullmatch(r"[A-Za-z0-9-]+", name) or re.search(r"[\x00-\x1f\x7f]", text):
                raise ValueError(f"headers: '{name}' is no header of one line")
            if name.lower() in ("content-type", "content-length", "host", "idempotency-key", "x-forewarn-signature"):
                raise ValueError(f"headers: '{name}' is set by Forewarn")
        check_body(self.body)
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the secrets that it needs."""
        of_headers = [v.secret for v in self.headers.values() if isinstance(v, Secret)]
        return (*of_headers, *([self.sign] if self.sign else []))


class Command(_Part):
    """A program with its arguments; there is no shell. A placeholder is a whole argument or a whole variable."""

    argv: list[str] = Field(min_length=1, max_length=100)
    env: dict[str, str | Secret] = Field(default_factory=dict)
    cwd: str = "/"
    timeout: Timeout = timedelta(seconds=60)

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if not PurePosixPath(self.argv[0]).is_absolute() or whole(self.argv[0]):
            raise ValueError(f"argv: '{self.argv[0]}' must be the whole path of a program, such as /usr/bin/kubectl")
        if not PurePosixPath(self.cwd).is_absolute():
            raise ValueError(f"cwd: '{self.cwd}' must be a whole path")
        for number, argument in enumerate(self.argv[1:], start=1):
            check_value(argument, f"argv: argument {number}")
            if whole(argument):
                _check_place(self.argv[:number])
        check_environment({name: value for name, value in self.env.items() if isinstance(value, str)})
        check_environment(dict.fromkeys((n for n, v in self.env.items() if isinstance(v, Secret)), ""))
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the secrets that it needs."""
        return tuple(v.secret for v in self.env.values() if isinstance(v, Secret))


def _check_place(before: list[str]) -> None:
    """Raises ValueError where what comes next would be read as a program."""
    names = [PurePosixPath(argument).name for argument in before]
    joined = next((name for name in names if _JOINED_BY_A_SHELL.fullmatch(name)), None)
    if joined:
        raise ValueError(f"argv: '{joined}' hands its arguments to a shell: use the variables FOREWARN_… in a script")
    last = max((number for number, name in enumerate(names) if _RUNNERS.fullmatch(name)), default=None)
    if last is None:
        return
    given = [argument for argument in before[last + 1 :] if not argument.startswith("-") and not whole(argument)]
    if not given or _PROGRAM_FOLLOWS.fullmatch(before[-1]):
        raise ValueError(f"argv: '{names[last]}' would run what the placeholder after '{before[-1]}' holds")


class Response(_Part):
    """See docs/responses.md. averts: a success changes what would have happened, so the forecast is not judged."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,99}$")
    match: MatchField = Field(min_length=1)
    min_probability: float = Field(0.0, ge=0, le=1)
    when: Annotated[str, AfterValidator(_condition)] | None = None
    webhook: Webhook | None = None
    command: Command | None = None
    approval: Literal["required", "automatic"] = "required"
    approval_valid: Duration = timedelta(minutes=30)
    dry_run: bool = True
    cooldown: Duration = timedelta(minutes=30)
    limit: Limit = Limit(runs=3)
    averts: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.webhook is None) == (self.command is None):
            raise ValueError("a response has either 'webhook:' or 'command:'")
        if self.approval_valid <= timedelta(0):
            raise ValueError("approval_valid must be longer than nothing")
        return self

    @property
    def kind(self) -> str:
        """'webhook' or 'command'."""
        return "webhook" if self.webhook is not None else "command"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the secrets that it needs."""
        what = self.webhook or self.command
        return what.secrets if what is not None else ()

    @cached_property
    def condition(self) -> Condition | None:
        """The condition, parsed."""
        return Condition.of(self.when) if self.when else None


class ResponsesFile(_Part):
    """`responses:` of a file, and what holds over all of them."""

    responses: list[Response] = Field(max_length=MOST_RESPONSES)
    limits: Limit = Limit(runs=10)

    def named(self) -> Mapping[str, Response]:
        """By name."""
        return {one.name: one for one in self.responses}
