#!/usr/bin/env python3
"""Measures what precisions lose on a GPU, for the seven networks of bench/models: how far their
results are from those in fp32 by Onrush's CPU backend, and whether that is within bounds.

  PYTHONPATH=build/release/python python bench/gpu/precision.py [--update-docs]

A loss is |result - exact| / |exact|, Euclidean norms over the first output, the worst of three
inputs. Beside it stands what it costs to round every value to 16 bits: the network as onnxruntime's
tool converts it to halves, run on the CPU without optimisation. Needs onnx and onnxruntime (any).
Exits with 1 if a loss is out of bounds.
"""

import argparse
import datetime
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench/cpu"))
import models  # noqa: E402
import report  # noqa: E402

import onrush  # noqa: E402

BOUNDS = {"fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3, "bf16": 2e-2}
# Random weights make these amplify whatever is rounded, the more the less it was. They are to lose
# in halves no more than so many times what their converted forms lose.
AMPLIFYING = {"mobilenet_v3_large": 3, "efficientnet_b0": 3}


def feeds(name, seed):
    random = np.random.default_rng(seed)
    if name not in ("bert_base", "gpt2"):
        return {"input": random.standard_normal((1, 3, 224, 224)).astype(np.float32)}
    inputs = {"input_ids": random.integers(0, 30000, (1, 128))}
    if name == "bert_base":
        inputs["attention_mask"] = np.ones((1, 128), np.int64)
        inputs["token_type_ids"] = np.zeros((1, 128), np.int64)
    return inputs


def converted(path):
    """The network in halves, as a function of its inputs."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(path), keep_io_types=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda inputs: session.run(None, inputs)[0]


def losses(path, name):
    inputs = [feeds(name, seed) for seed in range(3)]
    exact = onrush.Session(path)
    expected = [np.asarray(exact(**each)[0], np.float64) for each in inputs]

    def loss(run):
        return max(
            float(np.linalg.norm(run(each) - right) / np.linalg.norm(right))
            for each, right in zip(inputs, expected)
        )

    found = {"rounded to fp16": loss(converted(path))}
    for precision in BOUNDS:
        session = onrush.Session(path, device="cuda", precision=precision)
        found[precision] = loss(lambda each: np.asarray(session(**each)[0], np.float64))
    return found


def out_of_bounds(name, found):
    if name in AMPLIFYING:
        bound = AMPLIFYING[name] * found["rounded to fp16"]
        return ["fp16"] if not found["fp16"] <= bound else []
    return [each for each, bound in BOUNDS.items() if not found[each] <= bound]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update-docs", action="store_true")
    options = parser.parse_args()
    if "CUDAExecutionProvider" not in onrush.get_available_providers():
        sys.exit("precision.py: left out, there is no GPU here; `onrush doctor` says why")
    rows, failures = [], []
    columns = [*BOUNDS, "rounded to fp16"]
    for name in models.ARCHITECTURES:
        found = losses(models.architecture(name).path, name)
        rows.append([name, *(f"{found[column]:.1e}" for column in columns)])
        failures += [f"{name} in {precision}" for precision in out_of_bounds(name, found)]
        print(*rows[-1], file=sys.stderr, flush=True)
    limits = ", ".join(f"{precision} {bound:.0e}" for precision, bound in BOUNDS.items())
    amplifying = ", ".join(AMPLIFYING)
    text = (
        "### What precisions lose on a GPU\n\nFrom fp32 on the CPU, worst of three inputs "
        "(`bench/gpu/precision.py`); beside it what rounding every value to fp16 loses. "
        f"Bounds: {limits}. {amplifying} amplify whatever is rounded, as their weights are random: "
        "in fp16 they may lose 3 times what rounding does.\n\n"
        f"{report.table(['loss', *columns], rows)}\n\n"
        f"{report.gpu_name()}; {datetime.date.today()}; onrush {onrush.__version__}, onnxruntime "
        f"{onnxruntime.__version__}."
    )
    print(text)
    if options.update_docs:
        report.update_document(ROOT / "docs/performance.md", "precision", text, "bench/gpu")
    if failures:
        sys.exit(f"precision.py: out of bounds: {', '.join(failures)}")


if __name__ == "__main__":
    main()
