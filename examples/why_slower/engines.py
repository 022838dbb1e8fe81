"""PyTorch, onnxruntime and Onrush behind one interface, and how to time them.

A call takes its input from the host and brings the result there, or leaves both on the GPU; it may
return before the GPU is done, as PyTorch's do, and wait() waits for that.
"""

import argparse
import statistics
import time

import numpy as np
from network import Network

CUDA = "CUDAExecutionProvider"


class PyTorch:
    name = "PyTorch"

    def __init__(self, network, gpu):
        import torch

        self.torch, self.gpu = torch, gpu
        self.device = torch.device("cuda" if gpu else "cpu")
        self.forward, self.x = network.torch(self.device), network.input
        self.x_there = torch.from_numpy(self.x).to(self.device)

    def from_host(self):
        return self.forward(self.torch.from_numpy(self.x).to(self.device)).cpu().numpy()

    def on_gpu(self):
        self.y_there = self.forward(self.x_there)

    def wait(self):
        if self.gpu:
            self.torch.cuda.synchronize()


class OnnxEngine:
    """onnxruntime, or Onrush in its place: the program is the same."""

    def __init__(self, module, name, network, gpu, options=None, cuda_options=None):
        self.name, self.x = name, network.input
        providers = [(CUDA, cuda_options or {})] if gpu else ["CPUExecutionProvider"]
        self.session = module.InferenceSession(network.onnx(), options, providers=providers)
        place = ("cuda", 0) if gpu else ("cpu", 0)
        self.x_there = module.OrtValue.ortvalue_from_numpy(self.x, *place)
        self.y_there = module.OrtValue.ortvalue_from_shape_and_type([1, 1000], np.float32, *place)
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input("x", self.x_there)
        self.binding.bind_ortvalue_output("y", self.y_there)

    def from_host(self):
        return self.session.run(None, {"x": self.x})[0]

    def on_gpu(self):
        self.session.run_with_iobinding(self.binding)

    def wait(self):
        """Both return when the result is there."""


def available(gpu):
    """(name, module or None for PyTorch, reason why it is left out or None)"""
    import onrush

    found = []
    try:
        import torch

        missing = gpu and not torch.cuda.is_available()
        found.append(("PyTorch", None, "it finds no GPU" if missing else None))
    except ImportError:
        found.append(("PyTorch", None, "not installed"))
    try:
        import onnxruntime

        missing = gpu and CUDA not in onnxruntime.get_available_providers()
        reason = f"this build has no {CUDA}: pip install onnxruntime-gpu" if missing else None
        found.append(("onnxruntime", onnxruntime, reason))
    except ImportError:
        found.append(("onnxruntime", None, "not installed"))
    found.append(("Onrush", onrush, None))
    return found


def make_engines(network, gpu, options=None, cuda_options=None):
    """``options``: a function from a module to SessionOptions."""
    engines = []
    for name, module, reason in available(gpu):
        if reason:
            print(f"{name} is left out: {reason}")
        elif module is None:
            engines.append(PyTorch(network, gpu))
        else:
            made = options(module) if options else None
            engines.append(OnnxEngine(module, name, network, gpu, made, cuda_options))
    return engines


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
    import onrush

    parsed.gpu = not parsed.cpu and CUDA in onrush.get_available_providers()
    parsed.network = Network(parsed.small)
    where = "the GPU; products in tf32, the default of all three" if parsed.gpu else "the CPU"
    print(f"{'A small ResNet' if parsed.small else 'ResNet-50'}, batch 1, on {where}\n")
    return parsed
