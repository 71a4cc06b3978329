"""Becomes a service's process: own session, signals at their default, ended when its parent ends.

Run as a file (`python -I launch.py PARENT_PID COMMAND…`), it needs the standard library only and starts in
milliseconds; code between fork and exec in a process with threads would be a risk.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int, with_signal: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel for a signal when the parent's thread ends; exit where it has already ended (Linux only).

    A change of user clears this, so call it again after one.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the supervisor has ended")


def main() -> None:
    """Prepare this process and replace it by the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    os.setsid()
    # a shell that starts a job in the background ignores SIGINT in it; some services would then ignore SIGTERM, too
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    end_with_parent(parent)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
