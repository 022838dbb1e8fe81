"""ONNX Runtime on the CPU: its defaults; io binding; and what makes it faster."""
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from profiled_runs import ProfiledRuns

if "onrush" in sys.modules:
    raise ImportError("the module 'onnxruntime' of this environment is Onrush under that name")

# TensorProto.DataType of element types that numpy lacks.
ONNX_TYPES = {"bfloat16": 16}


class Engine:
    def __init__(self, variants):
        self.variants = variants

    def version(self):
        return onnxruntime.__version__

    def load(self, request, feeds):
        if request["device"] != "cpu":
            raise RuntimeError("is compared on the CPU only")
        self.feeds = feeds
        self.request = request
        self.session = self.new_session(self.options())
        # Outputs have sizes that only a run tells.
        if self.variants:
            known = request.get("outputs")
            self.bind(known or [(a.dtype, a.shape) for a in self.session.run(None, feeds)])

    def options(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.request["threads"]
        if "tuned" in self.variants:
            options.add_session_config_entry("session.set_denormal_as_zero", "1")
        return options

    def new_session(self, options):
        return onnxruntime.InferenceSession(
            self.request["model"], options, providers=["CPUExecutionProvider"]
        )

    def profile(self, runs, folder):
        """Its own profiler's events of a run, of the later ones; the graph that it ran."""
        graph = str(Path(folder) / "optimized.onnx")
        options = self.options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.optimized_model_filepath = graph
        options.log_severity_level = 3  # it warns that such a graph suits this machine only
        session = self.new_session(options)
        for _ in range(runs):
            session.run(None, self.feeds)
        with open(session.end_profiling()) as file:
            events = [e for e in json.load(file) if e.get("ph") == "X"]
        marks = [e for e in events if e["name"] == "model_run"][runs // 2 :]
        suffix = "_kernel_time"
        nodes = ProfiledRuns([mark["dur"] for mark in marks])
        for event in events:
            if event["cat"] != "Node" or not event["name"].endswith(suffix):
                continue
            run = sum(mark["ts"] <= event["ts"] for mark in marks) - 1
            if run >= 0:
                arguments = event["args"]
                name = event["name"][: -len(suffix)]
                key = (name, arguments.get("op_name", ""), arguments.get("provider", ""))
                nodes.add((*key, arguments.get("node_index")), run, event["dur"])
        return {"run_us": nodes.run_us, "events": nodes.events(), "graph": graph}

    def ort_value(self, array):
        if array.dtype.name in ONNX_TYPES:
            return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
                array.view(np.uint16), ONNX_TYPES[array.dtype.name]
            )
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)

    def bind(self, outputs):
        self.binding = self.session.io_binding()
        for name, array in self.feeds.items():
            self.binding.bind_ortvalue_input(name, self.ort_value(array))
        self.outputs = [
            onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.dtype(dtype))
            for dtype, shape in outputs
        ]
        for info, value in zip(self.session.get_outputs(), self.outputs):
            self.binding.bind_ortvalue_output(info.name, value)

    def run(self):
        if not self.variants:
            return self.session.run(None, self.feeds)
        self.session.run_with_iobinding(self.binding)
        return self.outputs

    def to_numpy(self, outputs):
        return [a if isinstance(a, np.ndarray) else a.numpy() for a in outputs]

    def output_names(self):
        return [info.name for info in self.session.get_outputs()]
