#!/usr/bin/env python3
"""Measures a decode of a small Llama (bench/cpu/decode_graph.py) on a GPU beside onnxruntime and
PyTorch: 64 steps, each with caches that are a row longer.

  PYTHONPATH=build/release/python python bench/gpu/decode.py [--steps N] [--rounds N]
    [--engines NAME,...] [--sessions N] [--update-docs]

The caches stay on the GPU; all memory is made and bound ahead, so that a step is the engine's work
alone. The first pass has sizes that the session has not seen but for the first two, in sessions that
are new each time, the first with kernels still to compile; in later passes, of which the engines take turns, all were there.
A step with a wait is what a decode needs that looks at every token; "host" is what the engine takes
until it returns when nobody waits. Needs PyTorch with CUDA, and onnxruntime-gpu for its row; an
engine that cannot run is left out, and the table says why.
"""

import argparse
import datetime
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench/cpu"))
import decode_graph  # noqa: E402
import report  # noqa: E402

ENGINES = ["onrush", "onnxruntime", "pytorch", "pytorch:compile"]
MODEL = ROOT / "build/models/decode.onnx"
PAST = 16
SIZES = decode_graph.Sizes()


def feeds_of_step(step):
    """What a step is given besides its caches."""
    return {
        "input_ids": np.array([[17 + 13 * step % 1000]], np.int64),
        "attention_mask": np.ones((1, PAST + step + 1), np.int64),
        "position_ids": np.array([[PAST + step]], np.int64),
    }


class Bound:
    """An engine with onnxruntime's API: Onrush or onnxruntime."""

    def __init__(self, module, stream):
        self.module, self.stream = module, stream
        self.version = module.__version__
        self.options = module.RunOptions()
        self.options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        if "CUDAExecutionProvider" not in module.get_available_providers():
            raise RuntimeError("it is without CUDA")

    def load(self):
        where = {"user_compute_stream": str(self.stream.cuda_stream)}
        options = self.module.SessionOptions()
        options.log_severity_level = 3
        self.session = self.module.InferenceSession(
            str(MODEL), options, providers=[("CUDAExecutionProvider", where)]
        )
        if self.session.get_providers()[0] != "CUDAExecutionProvider":
            raise RuntimeError("its CUDA provider did not load")

    def value(self, array):
        return self.module.OrtValue.ortvalue_from_numpy(array, "cuda", 0)

    def empty(self, shape):
        make = self.module.OrtValue.ortvalue_from_shape_and_type
        return make(shape, np.float32, "cuda", 0)

    def prepare(self, steps):
        first = decode_graph.first_feeds(PAST)
        names = decode_graph.past_names()
        self.logits = self.empty([1, 1, SIZES.vocabulary])
        caches = [self.value(first[name]) for name in names]
        self.steps = []
        for step in range(steps):
            binding = self.session.io_binding()
            for name, array in feeds_of_step(step).items():
                binding.bind_ortvalue_input(name, self.value(array))
            longer = [
                self.empty([1, SIZES.kv_heads, PAST + step + 1, SIZES.head_dim]) for _ in names
            ]
            binding.bind_ortvalue_output("logits", self.logits)
            for name, past, present in zip(names, caches, longer):
                binding.bind_ortvalue_input(name, past)
                binding.bind_ortvalue_output(name.replace("past_key_values", "present"), present)
            self.steps.append(binding)
            caches = longer

    def run(self, step):
        self.session.run_with_iobinding(self.steps[step], self.options)

    def result(self):
        return self.logits.numpy()[0, 0]


class Llama(torch.nn.Module):
    """The network of decode_graph.py with its weights."""

    def __init__(self, model):
        super().__init__()
        arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.weights = {
            name: torch.from_numpy(array.copy()).cuda()
            for name, array in arrays.items()
            if not name.startswith("constant_")
        }
        d = SIZES.head_dim
        exponents = np.arange(0, d, 2) / d
        self.frequencies = torch.tensor(10000.0**-exponents, dtype=torch.float32, device="cuda")

    def norm(self, x, name):
        root = torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)
        return self.weights[name] * (x / root)

    def linear(self, x, name):
        return x @ self.weights[name]

    @staticmethod
    def rotate(x, tables):
        first, second = x.chunk(2, -1)
        return x * tables[0] + torch.cat((-second, first), -1) * tables[1]

    def heads(self, x, count):
        return x.view(1, -1, count, SIZES.head_dim).transpose(1, 2)

    def attention(self, x, name, tables, masked, past):
        s, d = SIZES, SIZES.head_dim
        q = self.rotate(self.heads(self.linear(x, f"{name}.q_proj"), s.heads), tables)
        k = self.rotate(self.heads(self.linear(x, f"{name}.k_proj"), s.kv_heads), tables)
        v = self.heads(self.linear(x, f"{name}.v_proj"), s.kv_heads)
        present = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
        keys, values = (t.repeat_interleave(s.heads // s.kv_heads, 1) for t in present)
        weights = torch.softmax(q @ keys.transpose(2, 3) / d**0.5 + masked, -1)
        mixed = (weights @ values).transpose(1, 2).reshape(1, -1, s.heads * d)
        return self.linear(mixed, f"{name}.o_proj"), present

    def feed_forward(self, x, name):
        gate = self.linear(x, f"{name}.gate_proj")
        up = self.linear(x, f"{name}.up_proj")
        return self.linear(gate * torch.sigmoid(gate) * up, f"{name}.down_proj")

    def forward(self, ids, attention_mask, positions, past):
        x = self.weights["embed_tokens"][ids]
        half = positions[:, None, :, None].float() * self.frequencies
        angles = torch.cat((half, half), -1)
        tables = angles.cos(), angles.sin()
        keys = torch.arange(attention_mask.shape[1], device="cuda")
        seen = (keys <= positions[:, None, :, None]) & attention_mask[:, None, None, :].bool()
        masked = torch.where(seen, 0.0, -1e9)
        present = []
        for layer in range(SIZES.layers):
            name = f"layers.{layer}"
            mixed, both = self.attention(
                self.norm(x, f"{name}.input_layernorm"), f"{name}.self_attn", tables, masked,
                past[2 * layer : 2 * layer + 2],
            )  # fmt: skip
            x = x + mixed
            normal = self.norm(x, f"{name}.post_attention_layernorm")
            x = x + self.feed_forward(normal, f"{name}.mlp")
            present += both
        return self.norm(x, "norm") @ self.weights["lm_head"], present


class PyTorch:
    def __init__(self, compiled):
        self.compiled, self.version = compiled, torch.__version__

    def load(self):
        torch._dynamo.reset()
        self.call = Llama(onnx.load(MODEL))
        if self.compiled:
            self.call = torch.compile(self.call, dynamic=True)

    def prepare(self, steps):
        first = decode_graph.first_feeds(PAST)
        self.first = [torch.from_numpy(first[name]).cuda() for name in decode_graph.past_names()]
        self.feeds = [
            [torch.from_numpy(array).cuda() for array in feeds_of_step(step).values()]
            for step in range(steps)
        ]

    def run(self, step):
        if step == 0:
            self.caches = self.first
        self.logits, self.caches = self.call(*self.feeds[step], self.caches)

    def result(self):
        return self.logits[0, 0].cpu().numpy()


def make(name, stream):
    if name.startswith("pytorch"):
        return PyTorch(name.endswith(":compile"))
    return Bound(__import__(name), stream)


def timed_pass(engine, steps, waits):
    """Microseconds of a step, with all of them done; and until the calls had returned."""
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for step in range(steps):
        engine.run(step)
        if waits:
            torch.cuda.synchronize()
    returned = time.perf_counter()
    torch.cuda.synchronize()
    end = time.perf_counter()
    return (end - begin) / steps * 1e6, (returned - begin) / steps * 1e6


def first_passes(engine, options):
    """Each in a new session, after the sessions' first plan and another size."""
    found = []
    for _ in range(options.sessions):
        engine.load()
        engine.prepare(options.steps)
        engine.run(0)
        engine.run(1)
        found.append(timed_pass(engine, options.steps, waits=True)[0])
    return found


def measure(options):
    stream = torch.cuda.Stream()
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_grad_enabled(False)
    engines, failures, found = {}, {}, {}
    with torch.cuda.stream(stream):
        for name in options.engines:
            try:
                engine = make(name, stream)
                found[name] = {"first": first_passes(engine, options)}
                engines[name] = engine
            except Exception as error:  # noqa: BLE001 an engine's failure is a row of the table
                failures[name] = str(error).splitlines()[0][:200]
            print(name, failures.get(name, "ready"), file=sys.stderr, flush=True)
        for key in ("step", "host", "apace"):
            for name in engines:
                found[name][key] = []
        for number in range(options.rounds + 1):
            for name, engine in engines.items():
                waited, _ = timed_pass(engine, options.steps, waits=True)
                apace, host = timed_pass(engine, options.steps, waits=False)
                if number:  # the first round warms up
                    found[name]["step"].append(waited)
                    found[name]["apace"].append(apace)
                    found[name]["host"].append(host)
        results = {name: engine.result() for name, engine in engines.items()}
    return engines, failures, found, results


def table(engines, failures, found, results):
    keys = {
        "first": "first pass, with waits",
        "step": "later passes, with waits",
        "apace": "without waits",
        "host": "of that the host",
    }
    rows = []
    for name in engines:
        cells = [f"{statistics.median(found[name][key]):.0f}" for key in keys]
        rows.append([name, *cells])
    text = report.table(["a step, µs", *keys.values()], rows)
    for name, why in failures.items():
        text += f"\n\n{name}: left out, {why}"
    reference = next((n for n in ("onnxruntime", "pytorch") if n in results), None)
    if reference and "onrush" in results:
        largest = np.abs(results[reference]).max()
        difference = np.abs(results["onrush"] - results[reference]).max() / largest
        text += f"\n\nLargest difference of the last logits to {reference}'s: {difference:.0e} of the largest."
    return text


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--engines", type=lambda text: text.split(","), default=ENGINES)
    parser.add_argument("--update-docs", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("decode.py: left out, there is no GPU here; `onrush doctor` says why")
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    decode_graph.write(MODEL)
    engines, failures, found, results = measure(options)
    versions = ", ".join(f"{name} {engine.version}" for name, engine in engines.items())
    text = (
        f"### Decode on a GPU\n\nA Llama of {SIZES.layers} layers of {SIZES.hidden}, {options.steps} steps whose "
        "caches grow by a row, in tf32, all on the GPU (`bench/gpu/decode.py`).\n\n"
        f"{table(engines, failures, found, results)}\n\n{torch.cuda.get_device_name()}; "
        f"{datetime.date.today()}; {versions}. Medians of {options.rounds} passes in which the engines "
        f"took turns, first passes of {options.sessions} sessions."
    )
    print(text)
    if options.update_docs:
        report.update_document(ROOT / "docs/performance.md", "decode", text, "bench/gpu")


if __name__ == "__main__":
    main()
