#!/usr/bin/env python3
"""Gives a graph without weights weights drawn from the statistics of the originals, by a fixed seed.

usage: fill_weights.py GRAPH.onnx OUT.onnx; reads GRAPH.stats.json too.
"""
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def draw(name, shape, statistics):
    mean, deviation, low, high = statistics
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    values = np.random.default_rng(seed).standard_normal(shape)
    return np.clip(values * deviation + mean, low, high)


def fill_graph(graph, statistics):
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            values = draw(tensor.name, tuple(tensor.dims), statistics[tensor.name])
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(dtype), tensor.name))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                fill_graph(attribute.g, statistics)


def fill(source, target):
    model = onnx.load(source, load_external_data=False)
    fill_graph(model.graph, json.loads(Path(source).with_suffix(".stats.json").read_text()))
    onnx.save(model, target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    fill(sys.argv[1], sys.argv[2])
