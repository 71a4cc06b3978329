"""A process ends with its threads: half a service that looks well is worse than one that starts anew."""

import subprocess
import sys

from forewarn.services.lifecycle import THREAD_BROKE

_BREAKS = """
import threading, time
from forewarn.services.lifecycle import begin
def no_memory(): raise MemoryError
begin("test")
threading.Thread(target=no_memory, name="heartbeat", daemon=True).start()
time.sleep(30)
"""


def test_a_thread_that_breaks_ends_the_process_and_is_named() -> None:
    ended = subprocess.run([sys.executable, "-c", _BREAKS], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == THREAD_BROKE
    assert "a thread broke" in ended.stdout + ended.stderr
    assert "heartbeat" in ended.stdout + ended.stderr
