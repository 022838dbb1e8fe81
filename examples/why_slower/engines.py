"""PyTorch, onnxruntime and Onrush behind one interface, and how to time them.

A call takes its input from the host and brings the result there, or leaves both on the GPU; it may
return before the GPU is done, as PyTorch's do, and wait() waits for that.
"""

import argparse
import importlib
import statistics
import time

import numpy as np
from network import Network

CUDA = "CUDAExecutionProvider"


class LeftOutError(Exception):
    """Why an engine cannot take part."""


def module(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise LeftOutError("not installed") from None


class PyTorch:
    name = "PyTorch"

    def __init__(self, network, gpu):
        self.torch, self.gpu = module("torch"), gpu
        if gpu and not self.torch.cuda.is_available():
            raise LeftOutError("it finds no GPU")
        self.device = self.torch.device("cuda" if gpu else "cpu")
        self.forward, self.x = network.torch(self.device), network.input
        self.x_there = self.torch.from_numpy(self.x).to(self.device)

    def from_host(self):
        return self.forward(self.torch.from_numpy(self.x).to(self.device)).cpu().numpy()

    def on_gpu(self):
        self.y_there = self.forward(self.x_there)

    def wait(self):
        if self.gpu:
            self.torch.cuda.synchronize()


class OnnxRuntime:
    """Onrush is the same program with another import. ``options``: a function from the module to
    SessionOptions; ``cuda_options``: those of the provider."""

    name, package = "onnxruntime", "onnxruntime"

    def __init__(self, network, gpu, options=None, cuda_options=None):
        ort = module(self.package)
        if gpu and CUDA not in ort.get_available_providers():
            raise LeftOutError(f"this build has no {CUDA}: pip install onnxruntime-gpu")
        self.x = network.input
        providers = [(CUDA, cuda_options or {})] if gpu else ["CPUExecutionProvider"]
        made = options(ort) if options else None
        self.session = ort.InferenceSession(network.onnx(), made, providers=providers)
        if gpu and CUDA not in self.session.get_providers():
            raise LeftOutError(f"its {CUDA} did not load, and says above why")
        place = ("cuda", 0) if gpu else ("cpu", 0)
        self.x_there = ort.OrtValue.ortvalue_from_numpy(self.x, *place)
        self.y_there = ort.OrtValue.ortvalue_from_shape_and_type([1, 1000], np.float32, *place)
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input("x", self.x_there)
        self.binding.bind_ortvalue_output("y", self.y_there)

    def from_host(self):
        return self.session.run(None, {"x": self.x})[0]

    def on_gpu(self):
        self.session.run_with_iobinding(self.binding)

    def wait(self):
        """A run returns when its result is there."""


class Onrush(OnnxRuntime):
    name, package = "Onrush", "onrush"


def make_engines(makers):
    """The engines that can be made here; says why others cannot. ``makers``: functions without
    arguments, by name."""
    engines = []
    for name, make in makers.items():
        try:
            engines.append(make())
        except LeftOutError as reason:
            print(f"{name} is left out: {reason}")
    return engines


def all_engines(network, gpu, options=None):
    return make_engines(
        {
            "PyTorch": lambda: PyTorch(network, gpu),
            "onnxruntime": lambda: OnnxRuntime(network, gpu, options),
            "Onrush": lambda: Onrush(network, gpu, options),
        }
    )


def naive_ms(call, calls):
    """What is wrong with it: nobody waits for the GPU, and what the first calls prepare counts."""
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begin) / calls * 1e3


def true_ms(calls_by_name, rounds, calls):
    """Medians, each call timed until its result is there, after calls to warm up, and the engines
    by turns, so that what else the machine does meets all of them. The values of
    ``calls_by_name`` are (call, wait)."""
    times = {name: [] for name in calls_by_name}
    for number in range(rounds + 1):
        for name, (call, wait) in calls_by_name.items():
            wait()
            for _ in range(calls):
                begin = time.perf_counter()
                call()
                wait()
                if number:  # the first round warms up
                    times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) * 1e3 for name, values in times.items()}


def check_same(engines):
    """All of them compute the same network."""
    results = [engine.from_host() for engine in engines]
    for engine, result in zip(engines, results):
        apart = np.abs(result - results[-1]).max() / np.abs(results[-1]).max()
        if apart > 0.02:  # tf32 rounds factors to 10 bits
            raise SystemExit(f"{engine.name} computes something else: off by {apart:.1%}")


def print_table(titles, rows):
    rows = [[f"{x:.3f}" if isinstance(x, float) else str(x) for x in row] for row in rows]
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    for row in [titles, *rows]:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths))
        print("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--small", action="store_true", help="a tenth of the network")
    parser.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    parser.add_argument("--rounds", type=int, default=10, help="of each engine (default: 10)")
    parser.add_argument("--calls", type=int, default=20, help="of a round (default: 20)")
    parsed = parser.parse_args()
    parsed.gpu = not parsed.cpu and CUDA in module("onrush").get_available_providers()
    parsed.network = Network(parsed.small)
    where = "the GPU; convolutions in tf32, the default of all three" if parsed.gpu else "the CPU"
    print(f"{'A small ResNet' if parsed.small else 'ResNet-50'}, batch 1, on {where}\n")
    return parsed
