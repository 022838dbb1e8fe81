"""A program for onnxruntime: magika's labels of the files named, as JSON."""

import json
import pathlib
import sys

from magika import Magika

results = Magika().identify_paths([pathlib.Path(name) for name in sys.argv[1:]])
print(json.dumps([str(result.output.label) for result in results]))
