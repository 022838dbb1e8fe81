"""ONNX Runtime: its defaults; io binding; CUDA graphs; and all that makes it faster."""
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
        self.request, self.feeds = request, feeds
        self.device = request["device"]
        self.on_gpu = self.device.startswith("cuda")
        self.ordinal = int(self.device.partition(":")[2] or 0)
        self.resident = request["placement"] == "device"
        if "graph" in self.variants and not self.on_gpu:
            raise RuntimeError("CUDA graphs need a GPU")
        self.in_graph = self.on_gpu and bool(self.variants & {"graph", "tuned"})
        self.session = self.new_session(self.options(), self.in_graph)
        if self.on_gpu and self.session.get_providers()[0] != "CUDAExecutionProvider":
            raise RuntimeError(
                "its CUDA provider did not load, most likely for want of CUDA's or cuDNN's "
                "libraries: making a session in Python prints which"
            )
        self.bound = self.resident or bool(self.variants)
        # Outputs have sizes that only a run tells; a graph cannot be recorded before.
        if self.bound:
            self.bind(request.get("outputs") or self.output_shapes())

    def options(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.request["threads"]
        if "tuned" in self.variants and not self.on_gpu:
            options.add_session_config_entry("session.set_denormal_as_zero", "1")
        return options

    def new_session(self, options, in_graph):
        return onnxruntime.InferenceSession(
            self.request["model"], options, providers=[self.provider(in_graph)]
        )

    def provider(self, in_graph):
        if not self.on_gpu:
            return "CPUExecutionProvider"
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise RuntimeError("this onnxruntime is without CUDA: install onnxruntime-gpu")
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        exact = self.request["precision"] == "fp32"
        options = {"device_id": self.ordinal, "use_tf32": 0 if exact else 1}
        if in_graph:
            options["enable_cuda_graph"] = 1
        if "tuned" in self.variants:
            options["cudnn_conv_algo_search"] = "EXHAUSTIVE"
            options["cudnn_conv_use_max_workspace"] = 1
            options["prefer_nhwc"] = 1
            options["fuse_conv_bias"] = 1
        return ("CUDAExecutionProvider", options)

    def output_shapes(self):
        session = onnxruntime.InferenceSession(
            self.request["model"], providers=["CPUExecutionProvider"]
        )
        return [(array.dtype, array.shape) for array in session.run(None, self.feeds)]

    def profile(self, runs, folder):
        """Its own profiler's events of a run, of the later ones; the graph that it ran."""
        graph = str(Path(folder) / "optimized.onnx")
        options = self.options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.optimized_model_filepath = graph
        options.log_severity_level = 3  # it warns that such a graph suits this machine only
        session = self.new_session(options, in_graph=False)
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

    def ort_value(self, array, where):
        if array.dtype.name in ONNX_TYPES:
            return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
                array.view(np.uint16), ONNX_TYPES[array.dtype.name]
            )
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, where, self.ordinal)

    def bind(self, outputs):
        """Inputs and outputs in one place: recorded graphs need them on the GPU."""
        where = "cuda" if self.on_gpu and (self.resident or self.in_graph) else "cpu"
        self.binding = self.session.io_binding()
        self.inputs = {name: self.ort_value(a, where) for name, a in self.feeds.items()}
        for name, value in self.inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        self.outputs = [
            onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                shape, np.dtype(dtype), where, self.ordinal
            )
            for dtype, shape in outputs
        ]
        for info, value in zip(self.session.get_outputs(), self.outputs):
            self.binding.bind_ortvalue_output(info.name, value)
        self.copies = where == "cuda" and not self.resident

    def run(self):
        if not self.bound:
            return self.session.run(None, self.feeds)
        if self.copies:
            for name, value in self.inputs.items():
                value.update_inplace(self.feeds[name])
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()
        return [value.numpy() for value in self.outputs] if self.copies else self.outputs

    def to_numpy(self, outputs):
        return [a if isinstance(a, np.ndarray) else a.numpy() for a in outputs]

    def output_names(self):
        return [info.name for info in self.session.get_outputs()]
