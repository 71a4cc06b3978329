"""Waits for its supervisor's end and then ends what the supervisor left behind.

A SIGKILL cannot be handled by who gets it. This process holds the reading end of a pipe; when the supervisor is gone,
however it went, the kernel closes the pipe. Lines on it are JSON: {"pid": 1, "created_at": 2.5} or {"done": true}.
"""

import json
import os
import signal
import sys

from forewarn.services.stack.leftovers import end_all


def main() -> None:
    """Read from standard input until it is closed."""
    stack_id, patience_seconds = sys.argv[1], float(sys.argv[2])
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # the end of the supervisor is the only reason to go
    pids: dict[int, float] = {}
    for line in sys.stdin:
        try:
            message = json.loads(line)
        except ValueError:
            break  # the supervisor was killed while it wrote
        if message.get("done"):
            return
        pids[message["pid"]] = message["created_at"]
    ended = end_all(stack_id, pids, patience_seconds)
    os.write(2, f"the supervisor ended without stopping its services: {ended} processes ended\n".encode())


if __name__ == "__main__":
    main()
