"""What counts as a secret or personal data in telemetry: the built-in rules, and those of a rules file."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

_SECRET_NAMES = (
    "password|passwd|passphrase|pwd|secret|client_secret|secret_key|api_key|apikey|access_key|private_key|auth_token|"
    "access_token|refresh_token|id_token|session_token|token|authorization|proxy_authorization|cookie|set_cookie|"
    "credentials|card_number|credit_card|cvv|iban|ssn"
)


class ScrubError(ValueError):
    """A rules file cannot be used; the message says where and why."""


@dataclass(frozen=True)
class Rule:
    """What is replaced.

    pattern: replaces what it matches in any text (regular expression of Python); '' for none.
    keep: what comes right before it and stays, such as `password=`.
    keys: names of attributes whose whole value is replaced; the last part of a dotted name counts.
    hints: lower-case texts of which one is in every match: without them nothing is tried. None: always tried.
    valid: says whether a match is really one, such as by its checksum.
    probe: what is in every match, as a regular expression that is quick over a whole request.
    """

    name: str
    pattern: str = ""
    keep: str = ""
    keys: frozenset[str] = frozenset()
    hints: tuple[str, ...] = ()
    valid: Callable[[str], bool] | None = None
    replacement: str = ""
    probe: str = ""

    @property
    def text(self) -> str:
        """What stands in place of a match."""
        return self.replacement or f"[redacted:{self.name}]"

    @cached_property
    def byte_probe(self) -> re.Pattern[bytes] | None:
        """`probe` for bytes; None for none."""
        return re.compile(self.probe.encode()) if self.probe else None

    @cached_property
    def byte_hints(self) -> tuple[bytes, ...]:
        """`hints` as bytes."""
        return tuple(hint.encode() for hint in self.hints)

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """`keep` as the group of that name, then the pattern."""
        return re.compile(f"(?P<keep>{self.keep})(?:{self.pattern})" if self.keep else self.pattern)


def luhn(text: str) -> bool:
    """Whether the digits of a text end in the check digit of ISO/IEC 7812."""
    digits = [int(c) for c in reversed(text) if c.isdigit()]
    doubled = (d * 2 - 9 * (d > 4) for d in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _ip_like(text: str) -> bool:
    return ":" in text or all(int(part) < 256 for part in text.split("."))


# The order counts: what an earlier rule has replaced, a later one does not see. Every repetition is bounded or runs
# over one class of characters, so that no line takes long.
_QUOTES = r"""\\{0,3}["']?"""
# in quotes up to the closing one, without quotes up to a space or what separates values
_VALUE = r"""(?!\[redacted:)(?:(?<=")[^"\\\n]{1,2000}|(?<=')[^'\n]{1,2000}|(?<!["'])[^\s"'\\,;&<>(){}]{1,2000})"""
DEFAULTS = (
    Rule("private_key", hints=("private key-----",),
         pattern=r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[^-]{0,20000}"
                 r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----)?"),
    Rule("jwt", hints=("eyj",), pattern=r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}"),
    Rule("authorization", hints=("authorization",),
         keep=rf"(?i:authorization){_QUOTES}\s{{0,3}}[:=]\s{{0,3}}{_QUOTES}"
              r"(?:(?i:bearer|basic|digest|token|apikey)\s{1,3})?+",
         pattern=r"""(?!\[redacted:)[^\s"'\\,;]{4,4000}"""),
    Rule("bearer_token", hints=("bearer ",), keep=r"(?i:\bbearer)\s{1,3}",
         pattern=r"(?:(?=[\w.~+/=-]{0,4000}\d)[\w.~+/=-]{8,4000}|[\w.~+/=-]{20,4000})"),
    Rule("url_password", hints=("://",), keep=r"://[^\s/:@\"']{0,200}:",
         pattern=r"(?!\[redacted:)[^\s/@\"']{1,200}(?=@)"),
    Rule("forewarn_token", hints=("fwn_",), pattern=r"\bfwn_[\w-]{43}"),
    Rule("aws_key", hints=("akia", "asia"), pattern=r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    Rule("service_key", hints=("ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xox", "sk_live_", "sk-", "aiza"),
         pattern=r"\b(?:gh[pousr]_\w{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|sk_live_\w{16,}|"
                 r"sk-[\w-]{20,}|AIza[\w-]{35})"),
    Rule("password", hints=("passw", "passphrase", "pwd", "secret", "api_key", "api-key", "apikey", "access_key",
                            "access-key", "accesskey"),
         keep=rf"(?i:passw(?:or)?d|passphrase|pwd|secret(?:[_-]?key)?|api[_-]?key|access[_-]?key){_QUOTES}"
              rf"\s{{0,3}}[=:]\s{{0,3}}{_QUOTES}(?!\s)",
         pattern=_VALUE),
    Rule("token", hints=("token",), keep=rf"(?i:token){_QUOTES}(?:[=:]|\s{{0,3}}:\s{{1,3}}(?=\\{{0,3}}[\"'])){_QUOTES}",
         pattern=r"""(?!\[redacted:)[^\s"'\\,;&<>(){}]{8,4000}"""),
    Rule("email", hints=("@",), probe=r"@[A-Za-z0-9-]{1,63}\.",
         pattern=r"(?<![\w.+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"),
    Rule("card_number", valid=luhn, probe=r"\d{4}[ -]?\d{4}",
         pattern=r"(?<![\w.])(?:(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|65\d\d)(?:[ -]?\d{4}){3}|"
                 r"3[47]\d\d[ -]?\d{6}[ -]?\d{5})(?!\w)"),
    Rule("named_secret", hints=("passw", "passphrase", "pwd", "secret", "api_key", "api-key", "apikey", "access_key",
                                "access-key", "private_key", "private-key", "token", "authorization", "cookie",
                                "credential", "card", "cvv", "iban", "ssn"),
         keys=frozenset(_SECRET_NAMES.split("|"))),
)  # fmt: skip
# Off unless a rules file enables them: addresses are what many teams search their logs for.
OPTIONAL = (
    Rule("ip_address", valid=_ip_like,
         pattern=r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9A-Fa-f]{1,4}:){3,7}[0-9A-Fa-f]{1,4})(?![\w.:]\w)"),
)  # fmt: skip


class _OwnRule(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,39}$")]
    pattern: str = ""
    keep: str = ""
    keys: list[str] = []
    hints: list[str] = []
    replacement: str = ""


class _RulesFile(msgspec.Struct, forbid_unknown_fields=True):
    disable: list[str] = []
    enable: list[str] = []
    rules: list[_OwnRule] = []


def load_rules(setting: str) -> tuple[Rule, ...]:
    """The rules of FOREWARN_SCRUB: '' the built-in ones, 'off' none, else a rules file. Raises ScrubError."""
    if setting.strip().lower() == "off":
        return ()
    return read_rules(Path(setting)) if setting.strip() else DEFAULTS


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Rules of a YAML file (docs/security.md): its own first, then the built-in ones. Raises ScrubError."""
    try:
        told = msgspec.convert(yaml.safe_load(path.read_text("utf-8")) or {}, _RulesFile)
        own = tuple(_rule(rule) for rule in told.rules)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError, ScrubError) as error:
        raise ScrubError(f"{path}: {error}") from error
    known = {rule.name for rule in DEFAULTS + OPTIONAL}
    if unknown := (set(told.disable) | set(told.enable)) - known:
        raise ScrubError(f"{path}: there is no built-in rule {', '.join(sorted(unknown))}; there are {sorted(known)}")
    names = [rule.name for rule in own]
    if double := {name for name in names if names.count(name) > 1 or name in known - set(told.disable)}:
        raise ScrubError(
            f"{path}: the name {', '.join(sorted(double))} is taken; `disable` a built-in rule to replace it"
        )
    wanted = DEFAULTS + tuple(rule for rule in OPTIONAL if rule.name in told.enable)
    return own + tuple(rule for rule in wanted if rule.name not in told.disable)


def _rule(told: _OwnRule) -> Rule:
    rule = Rule(
        told.name, told.pattern, told.keep, frozenset(plain_key(key) for key in told.keys),
        tuple(hint.lower() for hint in told.hints), None, told.replacement,
    )  # fmt: skip
    if not (rule.pattern or rule.keys):
        raise ScrubError(f"rule {rule.name}: it has neither `pattern` nor `keys`")
    try:
        if rule.pattern and rule.expression.fullmatch(""):
            raise ScrubError(f"rule {rule.name}: its pattern matches nothing at all, it would be everywhere")
    except re.error as error:
        raise ScrubError(f"rule {rule.name}: {error}") from error
    return rule


def plain_key(key: str) -> str:
    """The last part of an attribute's name, as `keys` are compared: lower case, `_` for `-`."""
    return key.lower().replace("-", "_").rpartition(".")[2]
