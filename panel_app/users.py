"""`python -m panel_app.users NAME [--role editor]`: asks for a password and prints a line for the users' file."""

import argparse
import getpass
import sys

from panel_app.access import READER, ROLES, hashed

SHORTEST = 10


def main() -> int:
    """Exit code 0, or 1 with the reason. The password is read from the terminal, or from standard input in a pipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--role", choices=ROLES, default=READER)
    arguments = parser.parse_args()
    if ":" in arguments.name or not arguments.name.strip() or arguments.name.startswith("#"):
        print("a name has no colon and does not begin with #", file=sys.stderr)
        return 1
    piped = not sys.stdin.isatty()
    password = sys.stdin.readline().rstrip("\n") if piped else getpass.getpass("Password: ")
    if len(password) < SHORTEST:
        print(f"a password has at least {SHORTEST} characters", file=sys.stderr)
        return 1
    if not piped and getpass.getpass("Again: ") != password:
        print("these are not the same", file=sys.stderr)
        return 1
    print(f"{arguments.name}:{arguments.role}:{hashed(password)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
