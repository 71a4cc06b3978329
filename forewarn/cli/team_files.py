"""The files that a team writes (alerting, rules, responses), read for a command; what is wrong becomes a sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from forewarn.cli.failure import CommandError

if TYPE_CHECKING:
    from forewarn.alerting.policy import Policy
    from forewarn.config.settings import Settings

T = TypeVar("T")


def read_file(path: Path, read: Callable[[Path], T]) -> T:
    """What `read` makes of the file. Raises CommandError with line and column, or with why it cannot be read."""
    from forewarn.alerting.policy_file import PolicyError

    try:
        return read(path)
    except PolicyError as error:
        raise CommandError(f"{path} cannot be used:\n{error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from None


def alerting_policy(settings: "Settings", file: Path | None = None) -> "Policy":
    """The policy of `file`, else of the settings' alerting file, else the default. Raises CommandError."""
    from forewarn.alerting.defaults import default_policy
    from forewarn.alerting.policy_file import load_policy

    path = file or settings.alerting
    return default_policy(settings) if path is None else read_file(path, load_policy)
