"""What a check found: all is well, or what is wrong and how it is mended."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "wrong", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """verdict: 'unknown' where the question could not be asked. mend: what to do; '' where nothing is to be done."""

    check: str
    verdict: Verdict
    told: str
    mend: str = ""


def ok(check: str, told: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", told)


def wrong(check: str, told: str, mend: str) -> Finding:
    """Forewarn cannot work like this."""
    return Finding(check, "wrong", told, mend)


def warning(check: str, told: str, mend: str) -> Finding:
    """It works, and will surprise somebody."""
    return Finding(check, "warning", told, mend)


def unknown(check: str, told: str) -> Finding:
    """It could not be asked, for the reason of another finding."""
    return Finding(check, "unknown", told)
