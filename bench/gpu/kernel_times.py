#!/usr/bin/env python3
"""Compares the kernel times of `onrush explain` with those of another profiler.

  python bench/gpu/kernel_times.py MODEL [--with pytorch|ncu] [--onrush PROGRAM]
    [--shape NAME=1x2]... [--precision P] [--rounds N] [--rows N] [--json FILE]
    [--largest PERCENT]

pytorch: PyTorch's profiler watches a session of the module onrush in this interpreter. What a
kernel takes while the one ahead of it still runs does not count, as in explain.
ncu: Nsight Compute runs each kernel of `onrush run` by itself, with caches and clocks as they are:
a kernel that starts in the shadow of the one ahead, as most of a run do, takes longer there by what
it could hide.
Kernels are matched by their order in a run. What one takes differs between sessions by several
percent, so both profilers watch several by turns, and medians count. Exits with 1 if the sums differ
by more than --largest (5), and says how many kernels do.
"""
import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 4  # the first ones compile, choose and record


def explained(options):
    """(step, us) of each kernel of a run, in order."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "explained.json"
        command = [options.onrush, "explain", options.model, *run_options(options)]
        command += ["--no-options", "--runs", "100", "--json", file]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        found = json.loads(file.read_text())
    if found["device_clock"] != "CUPTI":
        sys.exit(f"explain has its times from {found['device_clock']}, not CUPTI")
    steps = found["steps"]
    return [(steps[event["step"]], event["us"]) for event in found["events"]]


def run_options(options):
    words = ["--device", "cuda", "--precision", options.precision]
    return words + [word for shape in options.shape for word in ("--shape", shape)]


def by_ncu(options, kernels):
    """us of the last runs' kernels, a list for each run, in order."""
    command = [
        "ncu", "--csv", "--page", "raw", "--metrics", "gpu__time_duration.sum",
        "--clock-control", "none", "--cache-control", "none", "--graph-profiling", "node",
        options.onrush, "run", options.model, *run_options(options), "--repeat", RUNS,
    ]  # fmt: skip
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"ncu failed: {(done.stdout + done.stderr).strip()[-2000:]}")
    lines = done.stdout.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith('"ID"'))
    titles, units, *rows = csv.reader(lines[first:])
    column = next(i for i, title in enumerate(titles) if title.startswith("gpu__time_duration"))
    scale = {"nsecond": 1e-3, "ns": 1e-3, "usecond": 1, "us": 1, "msecond": 1e3, "ms": 1e3}
    times = [float(row[column].replace(",", "")) * scale[units[column]] for row in rows]
    return in_runs(times, kernels)


def by_pytorch(options, kernels):
    import numpy as np
    import torch

    import onrush

    made = onrush.SessionOptions()
    made.add_session_config_entry("onrush.precision", options.precision)
    session = onrush.InferenceSession(
        str(options.model), made, providers=["CUDAExecutionProvider"]
    )
    shapes = dict(shape.split("=") for shape in options.shape)
    feeds = {}
    for value in session.get_inputs():
        if value.name in shapes:
            sizes = [int(size) for size in shapes[value.name].split("x")]
        else:
            sizes = [size if isinstance(size, int) else 1 for size in value.shape]
        integers = "int" in value.type
        feeds[value.name] = (
            np.zeros(sizes, np.int64) if integers else np.random.rand(*sizes).astype(np.float32)
        )
    for _ in range(5):
        session.run(None, feeds)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        for _ in range(20):
            session.run(None, feeds)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        events = json.loads(file.read_text())["traceEvents"]
    times, done = [], 0
    for begin, us in sorted((e["ts"], e["dur"]) for e in events if e.get("cat") == "kernel"):
        times.append(begin + us - max(begin, done))
        done = max(done, begin + us)
    return in_runs(times, kernels)


def in_runs(times, kernels):
    runs = [times[end - kernels : end] for end in range(len(times), kernels - 1, -kernels)]
    if not runs:
        sys.exit(f"the other profiler saw {len(times)} kernels, and a run has {kernels}")
    return runs[: max(len(runs) // 2, 1)]


def medians(runs):
    """By kernel, of a list for each run."""
    return [statistics.median(times) for times in zip(*runs)]


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--with", dest="profiler", choices=["pytorch", "ncu"], default="pytorch")
    parser.add_argument("--onrush", type=Path, default=ROOT / "build/release/src/cli/onrush")
    parser.add_argument("--shape", action="append", default=[])
    parser.add_argument("--precision", default="tf32")
    parser.add_argument("--rounds", type=int, default=5, help="sessions that each one watches")
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--largest", type=float, default=5, help="difference, in percent")
    return parser.parse_args()


def main():
    options = parse()
    measure = {"ncu": by_ncu, "pytorch": by_pytorch}[options.profiler]
    own_rounds, other_rounds = [], []
    for _ in range(options.rounds):
        steps, times = zip(*explained(options))
        own_rounds.append(times)
        other_rounds.append(medians(measure(options, len(times))))
    rows = [
        {"kind": step["kind"], "operators": step["operators"], "explain_us": us, "other_us": them}
        for step, us, them in zip(steps, medians(own_rounds), medians(other_rounds))
    ]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(f"{'explain, us':>12}{options.profiler + ', us':>14}{'ratio':>8}  kernel")
    for row in sorted(rows, key=lambda row: -row["other_us"])[: options.rows]:
        ratio = row["explain_us"] / row["other_us"]
        print(
            f"{row['explain_us']:12.2f}{row['other_us']:14.2f}{ratio:8.3f}  "
            f"{row['kind']} {row['operators']}"
        )
    sums = [sum(row[of] for row in rows) for of in ("explain_us", "other_us")]
    ratio = sums[0] / sums[1]
    print(f"{sums[0]:12.2f}{sums[1]:14.2f}{ratio:8.3f}  all {len(rows)} kernels")
    apart = sum(
        abs(row["explain_us"] / row["other_us"] - 1) > options.largest / 100 for row in rows
    )
    print(f"{apart} of {len(rows)} kernels are more than {options.largest:g} % apart")
    if abs(ratio - 1) > options.largest / 100:
        sys.exit(1)


if __name__ == "__main__":
    main()
