"""ONNX Runtime: its defaults; io binding; CUDA graphs; and all that makes it faster."""
import contextlib
import ctypes
import importlib.util
import json
import sys
import time
from pathlib import Path

import cupti
import numpy as np
import onnxruntime
from gpu_runs import Span, profile_of
from profiled_runs import Event, ProfiledRuns

if "onrush" in sys.modules:
    raise ImportError("the module 'onnxruntime' of this environment is Onrush under that name")

# TensorProto.DataType of element types that numpy lacks.
ONNX_TYPES = {"bfloat16": 16}


def load_cuda_libraries():
    """Those of wheels wherever on the path; preload_dlls() looks beside onnxruntime only."""
    wheels = importlib.util.find_spec("nvidia")
    for folder in wheels.submodule_search_locations if wheels else ():
        for name in ("cudart", "cublasLt", "cublas", "curand", "cufft", "nvrtc", "cudnn"):
            for path in Path(folder).glob(f"*/lib/lib{name}.so.*"):
                with contextlib.suppress(OSError):
                    ctypes.CDLL(str(path))


def events_of(session):
    with open(session.end_profiling()) as file:
        return [event for event in json.load(file) if event.get("ph") == "X"]


def node_of(event):
    """The node that an event of its profile is the run of; None for others."""
    suffix = "_kernel_time"
    if event["cat"] != "Node" or not event["name"].endswith(suffix):
        return None
    arguments = event["args"]
    return Event(
        event["name"][: -len(suffix)],
        arguments.get("op_name", ""),
        arguments.get("provider", ""),
        position=int(arguments.get("node_index", -1)),
    )


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
        load_cuda_libraries()
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

    def profile(self, request):
        """Its own profiler's events of a run, of the later ones; the graph that it ran. On a GPU
        CUPTI times what it launches, since its own profiler sees the host alone."""
        if self.in_graph:
            raise RuntimeError(
                "nothing tells which node a kernel of a recorded graph is for: compare with "
                "onnxruntime"
            )
        folder = Path(request["folder"])
        graph = str(folder / "optimized.onnx")
        options = self.options()
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        options.optimized_model_filepath = graph
        options.log_severity_level = 3  # it warns that such a graph suits this machine only
        session = self.new_session(options, in_graph=False)
        profile = self.gpu_profile if self.on_gpu else self.cpu_profile
        return {**profile(session, request), "graph": graph}

    def cpu_profile(self, session, request):
        for _ in range(request["runs"]):
            session.run(None, self.feeds)
        events = events_of(session)
        marks = [e for e in events if e["name"] == "model_run"][request["runs"] // 2 :]
        nodes = ProfiledRuns([mark["dur"] for mark in marks])
        for event in events:
            run = sum(mark["ts"] <= event["ts"] for mark in marks) - 1
            if run >= 0 and (node := node_of(event)):
                nodes.add(node, run, event["dur"])
        return nodes.answer()

    def gpu_profile(self, session, request):
        # The clock of its events; which one that is depends on how it was compiled.
        begin = session.get_profiling_start_time_ns()
        clock = min((time.time_ns, time.monotonic_ns), key=lambda now: abs(now() - begin))
        runs = []
        for _ in range(3):  # choose algorithms, fill pools
            session.run(None, self.feeds)
        with cupti.Trace(request["cupti"], clock) as trace:
            for _ in range(request["runs"]):
                start = clock()
                session.run(None, self.feeds)
                runs.append((start, clock()))
        calls, works = trace.result()
        spans = []
        for event in events_of(session):
            if node := node_of(event):
                start = begin + 1000 * event["ts"]
                # Both times of an event are cut to whole microseconds.
                end = start + 1000 * (event["dur"] + 2)
                spans.append(Span(start, end, *node[:3], node.position))
        spans.sort()
        return profile_of(runs[len(runs) // 2 :], spans, calls, works)

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
