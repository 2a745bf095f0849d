"""The process of the command line: `sqlinfer`, or `python -m sqlinfer`."""

from __future__ import annotations

import atexit
import os
import sys

from sqlinfer.cli import main


def run() -> None:
    """Run the command line and end at once: Python would search all of torch for cycles first, which takes a second."""
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    else:
        code = 0
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads any more
        code = code or 1
    os._exit(code)


if __name__ == "__main__":
    run()
