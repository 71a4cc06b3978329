"""How a command ends that cannot do what it was asked: one clear sentence, and a status other than 0."""

import os
import sys
from collections.abc import Callable


class CommandError(Exception):
    """The sentence is for the user: what is wrong, where, and what to do next."""

    def __init__(self, sentence: str, status: int = 1) -> None:
        super().__init__(sentence)
        self.status = status


def run_to_exit(command: Callable[[], object]) -> None:
    """Run a command line; what goes wrong becomes one sentence on standard error and the exit status.

    With FOREWARN_DEBUG=1 a fault keeps its traceback.
    """
    try:
        command()
    except CommandError as failed:
        _say(str(failed))
        sys.exit(failed.status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `forewarn logs NAME | head` is no fault
        sys.exit(141)
    except Exception as error:
        if os.environ.get("FOREWARN_DEBUG") == "1":
            raise
        _say(explain(error))
        sys.exit(1)


def explain(error: Exception) -> str:
    """One sentence for an error that no command foresaw."""
    if type(error).__name__ == "ValidationError":
        return explain_settings(error)
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text} (FOREWARN_DEBUG=1 shows where)"


def explain_settings(error: Exception) -> str:
    """Which variable holds what it may not hold; the value itself is left out, for it may be a secret."""
    from pydantic import ValidationError

    assert isinstance(error, ValidationError)
    if error.title != "Settings":
        return f"{' '.join(str(error).split())} (FOREWARN_DEBUG=1 shows where)"
    parts = [f"FOREWARN_{'.'.join(str(p) for p in e['loc']).upper()}: {e['msg'].lower()}" for e in error.errors()]
    return f"{'; '.join(parts)}: see .env.example for what each setting may hold"


def _say(sentence: str) -> None:
    from rich.console import Console
    from rich.markup import escape

    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]forewarn:[/] {escape(sentence)}")
