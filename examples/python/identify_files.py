"""Tells the types of files with magika's model.

Written for onnxruntime, which magika uses; runs on Onrush as
`python -m onrush.shim identify_files.py FILE...`.
"""

import sys
from pathlib import Path

from magika import Magika


def main():
    paths = [Path(name) for name in sys.argv[1:]]
    if not paths:
        sys.exit("usage: identify_files.py FILE...")
    for path, result in zip(paths, Magika().identify_paths(paths)):
        if not result.ok:
            print(f"{path.name:24} {result.status}")
            continue
        output = result.output
        print(f"{path.name:24} {output.description:32} {100 * result.score:5.1f} %")


if __name__ == "__main__":
    main()
