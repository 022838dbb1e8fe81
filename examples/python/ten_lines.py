"""python ten_lines.py MODEL.onnx: runs a model on random inputs; sizes that may vary are 2."""

import sys

import numpy as np

import onrush

session = onrush.Session(sys.argv[1])
inputs = {}
for argument in session.inputs:
    shape = [size if isinstance(size, int) else 2 for size in argument.shape]
    inputs[argument.name] = np.random.rand(*shape).astype(np.float32)
for name, result in session.run(inputs).items():
    print(name, result.dtype, result.shape, result.ravel()[:4])
