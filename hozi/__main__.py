"""The program `hozi`, also `python -m hozi`."""

import os
import sys


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hozi.settings")
    from hozi.doors.cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
