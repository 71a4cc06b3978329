"""Faults against the whole embedded stack: `python -m benchmarks.chaos [FAULT …]`; results/chaos.json.

Numbered samples and log lines go through the gateway while processes are killed, stopped and starved; then it is
counted: what was acknowledged is archived, once; risks and incidents were told, once; and how long it took until all
was as before. docs/faults.md says what is promised.
"""

import argparse
import sys
import time

from rich.console import Console

from benchmarks.faults.catalogue import FAULTS, GROUPS, chosen
from benchmarks.faults.run import run
from benchmarks.report import show, write


def main() -> int:
    """Do the faults and write the figures; the exit code is 1 where a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault", nargs="*", help="names or groups; all without any (--list names them)")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    parser.add_argument("--rate", type=float, default=3000, help="samples a second")
    parser.add_argument("--hold", type=float, default=60, help="seconds for which broker and database are stopped")
    parser.add_argument("--only", default="", help="services of the stack, as of forewarn up")
    parser.add_argument("--dry", action="store_true", help="write no results")
    given = parser.parse_args()
    if given.list:
        print("\n".join([*(f"{f.name:20} {f.title}" for f in FAULTS), *(f"{g:20} group" for g in GROUPS)]))
        return 0
    try:
        faults = chosen(given.fault)
    except ValueError as error:
        parser.error(str(error))
    began = time.monotonic()
    results = run(faults, given.rate, given.hold, Console(highlight=False, width=180), given.only)
    if not given.dry:
        write("chaos", results)
    show(f"Faults ({time.monotonic() - began:.0f} s)", results)
    return 0 if all(r.met is not False for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
