"""Starts services of Forewarn as processes, as a user would, and stops them."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import httpx


@contextlib.contextmanager
def service(module: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m module` with FOREWARN_<name> set; ended by SIGTERM, by SIGKILL if that does not help."""
    environment = {**os.environ, **{f"FOREWARN_{name.upper()}": value for name, value in settings.items()}}
    process = subprocess.Popen([sys.executable, "-m", module], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], object], seconds: float = 60, what: str = "the condition") -> None:
    """Return once the condition holds; AssertionError otherwise."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return httpx.get(url, timeout=3).status_code == 200
    except httpx.HTTPError:
        return False
