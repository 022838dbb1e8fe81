"""The program onrush: ``python -m onrush --help``."""

import os
import signal
import sys

from . import _core


def main() -> int:
    os.environ.setdefault("ONRUSH_PYTHON", sys.executable)  # peers may be installed beside us
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # commands do not return to Python meanwhile
    return _core.program(["onrush", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
