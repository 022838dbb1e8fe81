"""The program onrush: ``python -m onrush --help``."""

import signal
import sys

from . import _core


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # commands do not return to Python meanwhile
    return _core.program(["onrush", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
