#!/usr/bin/env python3
"""Measures runs on a GPU at sizes that a session has not had, with onnxruntime's CUDA provider
beside Onrush where it is installed: BERT at other lengths, ResNet-50 at other sizes of pictures.

  PYTHONPATH=build/release/python python bench/gpu/new_sizes.py [--sizes N] [--engines NAME,...] [--update-docs]

A session has three runs at one size, then N other sizes come, each six times. Inputs and outputs lie
on the GPU, times are the host's until the outputs are there, in tf32. The kernel cache is empty at
first. The first run at each size is compared with Onrush's CPU backend.
"""

import argparse
import datetime
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench/cpu"))
import models  # noqa: E402
import report  # noqa: E402

ENGINES = ["onrush", "onnxruntime"]
PROVIDERS = ["CUDAExecutionProvider"]
WAITED = 50_000  # microseconds: a first run that compiled, or searched for an algorithm


def of_any_size(path):
    """The model with the sizes of its pictures free."""
    free = path.replace(".onnx", "_free.onnx")
    model = onnx.load(path)
    for axis, size in enumerate(model.graph.input[0].type.tensor_type.shape.dim):
        if axis != 1:
            size.dim_param = f"size_{axis}"
    del model.graph.value_info[:]
    onnx.save(model, free)
    return free


def text(random, length):
    return {
        "input_ids": random.integers(0, 30000, (1, length)),
        "attention_mask": np.ones((1, length), np.int64),
        "token_type_ids": np.zeros((1, length), np.int64),
    }


def works(count):
    random = np.random.default_rng(0)
    lengths = random.permutation(np.arange(8, 509))[: count + 1]
    yield "BERT, lengths", models.architecture("bert_base").path, [text(random, int(n)) for n in lengths]
    pictures = [
        {"input": random.standard_normal((1, 3, *size)).astype(np.float32)}
        for size in random.integers(64, 320, (count + 1, 2))
    ]
    yield "ResNet-50, sizes of pictures", of_any_size(models.architecture("resnet50").path), pictures


def measure(module, path, feeds):
    """Microseconds of the first, second and later runs at each size, and the first results."""
    options = module.SessionOptions()
    options.log_severity_level = 3
    session = module.InferenceSession(path, options, providers=PROVIDERS)
    if session.get_providers()[0] != PROVIDERS[0]:
        raise RuntimeError("its CUDA provider did not load")
    outputs = [output.name for output in session.get_outputs()]

    def bound(feed):
        binding = session.io_binding()
        for name, array in feed.items():
            value = module.OrtValue.ortvalue_from_numpy(array, "cuda", 0)
            binding.bind_ortvalue_input(name, value)
        for name in outputs:
            binding.bind_output(name, "cuda")
        return binding

    def timed(binding):
        begin = time.perf_counter()
        session.run_with_iobinding(binding)
        return (time.perf_counter() - begin) * 1e6

    bindings = [bound(feed) for feed in feeds]
    for _ in range(3):
        timed(bindings[0])
    times, results = [], []
    for binding in bindings[1:]:
        first = timed(binding)
        results.append(binding.copy_outputs_to_cpu()[0])
        second = timed(binding)
        later = statistics.median(timed(binding) for _ in range(4))
        times.append((first, second, later, first - later))
    return times, results


def largest_difference(results, expected):
    return max(
        float(np.abs(result - right).max() / np.abs(right).max())
        for result, right in zip(results, expected)
    )


def row(name, engine, times, results, expected):
    def spread(column):
        values = [each[column] for each in times]
        return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"

    waited = [each for each in times if each[0] > WAITED]
    times = [each for each in times if each[0] <= WAITED] or times
    difference = f"{largest_difference(results, expected):.0e}"
    cells = [f"{len(waited)}", *map(spread, range(4)), difference]
    return [f"{len(results)} {name}", engine, *cells]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, default=59)
    parser.add_argument("--engines", type=lambda text: text.split(","), default=ENGINES)
    parser.add_argument("--update-docs", action="store_true")
    options = parser.parse_args()
    cache = tempfile.TemporaryDirectory()
    os.environ["ONRUSH_CACHE"] = cache.name
    import onrush

    if PROVIDERS[0] not in onrush.get_available_providers():
        sys.exit("new_sizes.py: left out, there is no GPU here; `onrush doctor` says why")
    rows, versions, failures = [], {}, {}
    for name, path, feeds in works(options.sizes):
        right = onrush.InferenceSession(path, providers=["CPUExecutionProvider"])
        expected = [right.run(None, feed)[0] for feed in feeds[1:]]
        for engine in options.engines:
            try:
                module = __import__(engine)
                times, results = measure(module, path, feeds)
            except Exception as error:  # noqa: BLE001 an engine's failure is a line below the table
                failures[engine] = str(error).splitlines()[0][:200]
                continue
            versions[engine] = module.__version__
            rows.append(row(name, engine, times, results, expected))
            print(*rows[-1], sep=", ", file=sys.stderr, flush=True)
    times = ["first run", "second run", "later run", "first - later"]
    header = ["new sizes", "engine, µs", "waited", *times, "difference"]
    told = "".join(f"\n\n{engine}: left out, {why}" for engine, why in failures.items())
    listed = ", ".join(f"{engine} {version}" for engine, version in versions.items())
    result = (
        "### New sizes on a GPU\n\nRuns at sizes that the session has not had, µs of the host, medians "
        "(least-most), all on the GPU, in tf32 (`bench/gpu/new_sizes.py`). The kernel cache was empty: "
        f"first runs of more than {WAITED // 1000} ms waited for a compiler or a search, and are counted "
        "apart. The last column is the largest difference of first runs to Onrush's CPU backend, as a "
        f"part of the largest output.\n\n{report.table(header, rows)}{told}\n\n"
        f"{report.gpu_name()}; {datetime.date.today()}; {listed}."
    )
    print(result)
    if options.update_docs:
        report.update_document(ROOT / "docs/performance.md", "new-sizes", result, "bench/gpu")


if __name__ == "__main__":
    main()
