"""PyTorch: eager, or any of: channels last, autocast, half, a CUDA graph, torch.compile."""
import contextlib
import importlib
import json
import os
import sys
import time
from pathlib import Path

import torch
from gpu_runs import profile_of
from profiled_runs import Event, ProfiledRuns, middle_mean
from torch_trace import MARK, parts_of_trace


def make_module(source, model):
    """The module of "module:callable", of a .pt2 file, or built from the ONNX file."""
    if not source:
        try:
            import onnx2torch
        except ImportError as error:
            raise RuntimeError(
                "an ONNX file alone gives no PyTorch module: name one by --torch module:callable "
                f"or --torch FILE.pt2, or install onnx2torch ({error})"
            ) from None
        return onnx2torch.convert(model)
    if source.endswith(".pt2"):
        return torch.export.load(source).module()
    sys.path.insert(0, os.getcwd())
    module, _, name = source.partition(":")
    made = getattr(importlib.import_module(module), name)
    return made if isinstance(made, torch.nn.Module) else made()


def tensors_of(outputs):
    """The tensors of whatever a module returned, in order."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    if isinstance(outputs, dict):
        outputs = outputs.values()
    if isinstance(outputs, (list, tuple)) or hasattr(outputs, "__iter__"):
        return [tensor for part in outputs for tensor in tensors_of(part)]
    return []


class Engine:
    def __init__(self, variants):
        self.variants = variants

    def version(self):
        return torch.__version__

    def load(self, request, feeds):
        if request["threads"]:
            torch.set_num_threads(request["threads"])
        self.device = torch.device(request["device"])
        self.on_gpu = self.device.type == "cuda"
        self.resident = request["placement"] == "device"
        if "graph" in self.variants and not self.on_gpu:
            raise RuntimeError("CUDA graphs need a GPU")
        bf16 = not self.on_gpu or request["precision"] == "bf16"
        self.half_dtype = torch.bfloat16 if bf16 else torch.float16
        tf32 = request["precision"] != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        torch.set_grad_enabled(False)

        self.host = [self.tensor(feeds[name]) for name in request["order"]]
        self.module = make_module(request.get("torch"), request["model"])
        # A module made from torch.export has its mode fixed.
        with contextlib.suppress(NotImplementedError):
            self.module.eval()
        self.module.to(self.device)
        if "half" in self.variants:
            self.host = [t.to(self.half_dtype) if t.is_floating_point() else t for t in self.host]
        floats = [t.dtype for t in self.host if t.is_floating_point()]
        if floats and floats[0] != torch.float32:
            self.module.to(floats[0])
        if "channels_last" in self.variants:
            self.module.to(memory_format=torch.channels_last)
        self.inputs = [self.layout(t.to(self.device)) for t in self.host]
        self.call = self.module
        if "compile" in self.variants:
            own_graphs = self.on_gpu and "graph" not in self.variants
            self.call = torch.compile(
                self.module, mode="reduce-overhead" if own_graphs else "default"
            )
        if "graph" in self.variants:
            self.record()

    @staticmethod
    def tensor(array):
        if array.dtype.name == "bfloat16":
            return torch.from_numpy(array.view("int16").copy()).view(torch.bfloat16)
        return torch.from_numpy(array)

    def layout(self, tensor):
        if "channels_last" in self.variants and tensor.dim() == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def record(self):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.forward()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self.forward()

        def replay():
            graph.replay()
            return outputs

        self.forward = replay

    def forward(self):
        if "autocast" not in self.variants:
            return tensors_of(self.call(*self.inputs))
        with torch.autocast(self.device.type, self.half_dtype):
            return tensors_of(self.call(*self.inputs))

    def run(self):
        if self.on_gpu and not self.resident:
            for target, source in zip(self.inputs, self.host):
                target.copy_(source)
        outputs = self.forward()
        if self.on_gpu and not self.resident:
            outputs = [tensor.cpu() for tensor in outputs]
        if self.on_gpu:
            torch.cuda.synchronize()
        return outputs

    def profile(self, request):
        """PyTorch's own profiler's operators of a run, of the later ones."""
        if self.variants & {"graph", "compile"}:
            raise RuntimeError(
                "PyTorch's profiler sees no operators in a recorded graph or a compiled module: "
                "compare with pytorch"
            )
        if self.on_gpu:
            return self.gpu_profile(request)
        runs = request["runs"]
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            self.marked_runs(runs)
        marks = [e for e in profiler.events() if e.name == MARK and e.cpu_time_total]
        marks = marks[runs // 2 :]
        operators = ProfiledRuns([mark.cpu_time_total for mark in marks])
        for run, mark in enumerate(marks):
            for position, event in enumerate(self.operators(mark)):
                operators.add(
                    Event("", event.name, position=position), run, event.cpu_time_total
                )
        return operators.answer()

    def marked_runs(self, runs):
        for _ in range(runs):
            with torch.profiler.record_function(MARK):
                self.run()

    def gpu_profile(self, request):
        path = str(Path(request["folder"]) / "trace.json")
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profiler:
            self.marked_runs(request["runs"])
        profiler.export_chrome_trace(path)
        with open(path) as file:
            runs, spans, calls, works = parts_of_trace(json.load(file)["traceEvents"])
        if not works:
            raise RuntimeError("PyTorch's profiler saw no work of the GPU")
        profile = profile_of(runs[len(runs) // 2 :], spans, calls, works)
        return {**profile, "unwaited_us": self.unwaited_us()}

    def unwaited_us(self):
        """What a clock shows that does not wait for the GPU: calls with all on it."""
        times = []
        for _ in range(20):
            begin = time.perf_counter_ns()
            self.forward()
            times.append((time.perf_counter_ns() - begin) / 1000)
            torch.cuda.synchronize()
        return middle_mean(times)

    @staticmethod
    def operators(mark):
        """The outermost operators below a mark, in order."""
        found, open_events = [], list(reversed(mark.cpu_children))
        while open_events:
            event = open_events.pop()
            if event.name.startswith("aten::"):
                found.append(event)
            else:
                open_events.extend(reversed(event.cpu_children))
        return found

    def to_numpy(self, outputs):
        return [
            (t.float() if t.dtype == torch.bfloat16 else t).cpu().numpy() for t in outputs
        ]

    def output_names(self):
        return []
