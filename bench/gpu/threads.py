#!/usr/bin/env python3
"""Measures 8 threads that share a session on a GPU against 8 threads with a session each.

  PYTHONPATH=build/release/python python bench/gpu/threads.py [MODEL.onnx] [--threads N]
    [--seconds S] [--rounds N]

MODEL has one input, an image of float32 (default: build/models/resnet50.onnx, written from
bench/models). Each thread runs numpy in and out, then memory bound on the GPU. The two ways take
turns, so that what else the machine does meets both.
"""

import argparse
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

import onrush as ort

MODELS = Path(__file__).parents[1] / "models"
DEFAULT = Path(__file__).parents[2] / "build/models/resnet50.onnx"
PROVIDERS = ["CUDAExecutionProvider"]


def from_host(session, number):
    x = np.random.default_rng(number).random(shape_of(session), np.float32)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})


def bound(session, number):
    x = np.random.default_rng(number).random(shape_of(session), np.float32)
    name = session.get_inputs()[0].name
    result = session.run(None, {name: x})[0]
    binding = session.io_binding()
    value = ort.OrtValue.ortvalue_from_numpy(x, "cuda", 0)
    binding.bind_ortvalue_input(name, value)
    target = ort.OrtValue.ortvalue_from_numpy(result, "cuda", 0)
    binding.bind_ortvalue_output(session.get_outputs()[0].name, target)
    return lambda: session.run_with_iobinding(binding)


def shape_of(session):
    return [size if isinstance(size, int) else 1 for size in session.get_inputs()[0].shape]


def throughput(calls, seconds):
    """Runs a second of threads that make one of the calls each, all at once."""
    start, counts = threading.Barrier(len(calls) + 1), [0] * len(calls)
    stop = False

    def work(index, call):
        start.wait()
        while not stop:
            call()
            counts[index] += 1

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    start.wait()
    begin = time.perf_counter()
    time.sleep(seconds)
    stop = True
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn (default: 0.5)")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if ort.get_available_providers()[0] not in PROVIDERS:
        sys.exit("threads.py: left out, there is no GPU here; `onrush doctor` says why")
    if options.model == DEFAULT and not DEFAULT.exists():
        DEFAULT.parent.mkdir(exist_ok=True)
        command = [sys.executable, MODELS / "fill_weights.py", MODELS / DEFAULT.name, DEFAULT]
        subprocess.run(command, check=True)

    def session():
        return ort.InferenceSession(options.model, providers=PROVIDERS)

    shared, own = session(), [session() for _ in range(options.threads)]
    print(f"{options.model.name}, {options.threads} threads, runs a second (medians)")
    for title, way in (("numpy in and out", from_host), ("bound on the GPU", bound)):
        calls = {
            "one session": [way(shared, number) for number in range(options.threads)],
            "a session each": [way(s, number) for number, s in enumerate(own)],
            "one thread": [way(shared, 0)],
        }
        rates = {name: [] for name in calls}
        for number in range(options.rounds + 1):
            for name, made in calls.items():
                rate = throughput(made, options.seconds)
                if number:  # the first round warms up
                    rates[name].append(rate)
        medians = {name: statistics.median(values) for name, values in rates.items()}
        ratios = [a / b for a, b in zip(rates["one session"], rates["a session each"])]
        figures = ", ".join(f"{name} {rate:.0f}" for name, rate in medians.items())
        print(
            f"{title}: {figures}; one session / a session each: {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
