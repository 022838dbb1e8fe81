#!/usr/bin/env python3
"""Measures Onrush beside onnxruntime as programs in Python meet them.

  scripts/setup; PYTHONPATH=build/release/python build/venv/bin/python bench/cpu/python.py
    [--device cuda] [--rounds N] [--update-docs]

What a call costs: a model of one addition of six numbers, on one thread or a GPU, both engines by
turns in one process. Reading text, on the CPU only: rapidocr, unchanged, in a fresh process for each
engine by turns.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import report
from onnx import TensorProto, helper
from run import machine

import onrush

HERE = Path(__file__).parent
ENGINES = {"onrush": onrush, "onnxruntime": onnxruntime}
CALLS = 300  # a turn


def addition():
    x, y, z = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["n", 3]), ("y", [3]), ("z", ["n", 3]))
    )
    graph = helper.make_graph([helper.make_node("Add", ["x", "y"], ["z"])], "g", [x, y], [z])
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def calls(engine, device):
    """A function for each way to run the model."""
    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    options = engine.SessionOptions()
    options.intra_op_num_threads = 1
    session = engine.InferenceSession(addition(), options, providers=[provider])
    if session.get_providers()[0] != provider:
        sys.exit(f"{engine.__name__} has no {provider} here, and says above what is missing")
    x, y = np.ones((2, 3), np.float32), np.ones(3, np.float32)
    there = {
        name: engine.OrtValue.ortvalue_from_numpy(array, device, 0)
        for name, array in (("x", x), ("y", y), ("z", np.empty_like(x)))
    }
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", there["x"])
    binding.bind_ortvalue_input("y", there["y"])
    binding.bind_ortvalue_output("z", there["z"])
    return {
        "run, numpy in and out": lambda: session.run(None, {"x": x, "y": y}),
        "run with io binding": lambda: session.run_with_iobinding(binding),
    }


def microseconds(call):
    begin = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - begin) / CALLS * 1e6


def measure_calls(rounds, device):
    """{way: {engine: microseconds a call in each round}}"""
    times = {}
    by_engine = {name: calls(engine, device) for name, engine in ENGINES.items()}
    for number in range(rounds):
        for name in sorted(by_engine, reverse=number % 2 == 1):
            for way, call in by_engine[name].items():
                times.setdefault(way, {}).setdefault(name, []).append(microseconds(call))
    return times


def measure_reading(rounds):
    """{part: {engine: seconds in each round}}"""
    times = {}
    program = [str(HERE / "read_pictures.py")]
    commands = {"onrush": ["-m", "onrush.shim", *program], "onnxruntime": program}
    for number in range(rounds):
        for name in sorted(commands, reverse=number % 2 == 1):
            print(f"rapidocr, round {number + 1}, {name}", file=sys.stderr, flush=True)
            done = subprocess.run(
                [sys.executable, *commands[name]], check=True, stdout=subprocess.PIPE, text=True
            )
            for part, seconds in json.loads(done.stdout.splitlines()[-1]).items():
                times.setdefault(part, {}).setdefault(name, []).append(seconds)
    return times


def table(title, times, titles=None):
    """Medians, and how many times faster Onrush is."""
    rows = []
    for key, by_engine in times.items():
        ours, theirs = (statistics.median(by_engine[name]) for name in ENGINES)
        least = [min(by_engine[name]) for name in ENGINES]
        rows.append(
            [
                (titles or {}).get(key, key),
                f"{report.number(ours)} ({report.number(least[0])})",
                f"{report.number(theirs)} ({report.number(least[1])})",
                report.number(theirs / ours),
            ]
        )
    return report.table([title, *ENGINES, "onrush vs onnxruntime"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=100, help="of calls (default: 100)")
    parser.add_argument("--readings", type=int, default=5, help="rounds of rapidocr (default: 5)")
    parser.add_argument("--update-docs", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    parts = {
        "load": "making the reader",
        "page": "the page, first run",
        "pieces": "20 pieces of other sizes, one after the other",
    }
    on_gpu = options.device == "cuda"
    if on_gpu:
        onnxruntime.preload_dlls()
    reading = []
    if options.readings and not on_gpu:
        reading.append(table("rapidocr, s", measure_reading(options.readings), parts))
    machines = [machine(), report.gpu_name()] if on_gpu else [machine()]
    place = "on a GPU; with io binding, all values lie there" if on_gpu else "on one thread"
    text = "\n\n".join(
        [
            "### From Python" + on_gpu * " on a GPU",
            "Medians (least) of the rounds; ratios over 1: Onrush is the faster. A call runs a "
            f"model of one addition {place}.",
            table("a call, µs", measure_calls(options.rounds, options.device)),
            *reading,
            f"{', '.join(machines)}; {datetime.date.today().isoformat()}; "
            f"onrush {onrush.__version__}, onnxruntime {onnxruntime.__version__}. Processes that "
            f"wanted one of the {os.cpu_count()} processors in the last minutes: "
            f"{os.getloadavg()[2]:.1f}; one or two were these.",
        ]
    )
    print(text)
    if options.update_docs:
        section = "python on a GPU" if on_gpu else "python"
        report.update_document(HERE.parents[1] / "docs" / "performance.md", section, text)


if __name__ == "__main__":
    main()
