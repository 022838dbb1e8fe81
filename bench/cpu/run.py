#!/usr/bin/env python3
"""Measures Onrush beside its peers on the CPU, each engine in a process of its own, by turns.

  scripts/setup --bench; build/venv/bin/python bench/cpu/run.py [--models NAME,...]
    [--engines NAME,...] [--changing-shapes | --quantized] [--update-docs]

A round lets one engine after another run for a moment, the order turned by one each time, with
default settings but for the number of threads; the others have gone to sleep by then, and the report
says what processor time they used nevertheless. Load time and peak memory come from fresh processes
that do nothing else. An engine that is missing or fails leaves gaps, never no result: the JSON file
is written after each model.
"""
import argparse
import datetime
import json
import math
import os
import platform
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

import decode_graph
import models
import numpy as np
import report
from engines import ENGINES
from processes import EngineError, Process, settle

DECODE_STEPS = 64
ROUND_SECONDS = 0.25
LEAST_RUNS = 2
FAST_LOAD_MS = 50
FAST_LOADS = 5


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def new_section(options):
    return {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "threads": options.threads,
        "rounds": options.rounds,
        "engines": options.engines,
        "versions": {},
        "models": {},
        "binds": {},
        "processors": os.cpu_count(),
        "load": 0.0,
    }


def difference(outputs, expected):
    """The largest absolute difference, and as a part of the largest expected value."""
    if len(outputs) != len(expected) or any(a.shape != b.shape for a, b in zip(outputs, expected)):
        return {"error": "outputs of other shapes than onnxruntime's"}
    largest = relative = 0.0
    for a, b in zip(outputs, expected):
        if not b.size:
            continue
        distance = float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64))))
        scale = float(np.max(np.abs(b))) or 1.0
        largest, relative = max(largest, distance), max(relative, distance / scale)
    return {"difference": largest, "relative_difference": relative}


def add_differences(results, outputs):
    expected = outputs.get("onnxruntime")
    for engine, own in outputs.items():
        if expected is not None and engine != "onnxruntime":
            results[engine].update(difference(own, expected))


def attempt(results, engine, work):
    """work()'s result; None, with the reason among the results, if the engine fails."""
    try:
        return work()
    except EngineError as error:
        results[engine] = {"error": str(error)}
        return None


def order(engines, number):
    """Turned by one each round, so that none always comes after the same one."""
    turn = number % max(1, len(engines))
    return engines[turn:] + engines[:turn]


def measure_load(case, engines, options, results):
    """Loads in fresh processes one after another; returns the processes and outputs of the last.

    A load of a few milliseconds varies from process to process by as much as engines differ: where
    the fastest engine's takes less than FAST_LOAD_MS, there are FAST_LOADS times as many.
    """
    samples, processes, outputs = {e: [] for e in engines}, {}, {}
    number, last = 0, False
    while not last:
        number += 1
        loads = [s["create_ms"] + s["first_ms"] for taken in samples.values() for s in taken]
        fast = min(loads, default=math.inf) < FAST_LOAD_MS
        last = number >= options.loads * (FAST_LOADS if fast else 1)
        for engine in order(engines, number):
            if "error" in results.get(engine, {}):
                continue
            process = attempt(results, engine, lambda: Process(engine, options.threads))
            if process is None:
                continue
            loaded = attempt(results, engine, lambda: process.call("load", case.path, case.feeds))
            if loaded is None or not last:
                process.close()
            if loaded is not None:
                outputs[engine] = loaded.pop("outputs")
                samples[engine].append(loaded)
                if last:
                    processes[engine] = process
            settle()
    for engine in processes:
        loads = samples[engine]
        results[engine] = {key: statistics.median(s[key] for s in loads) for key in loads[0]}
    return processes, {e: outputs[e] for e in processes}


def measure_latency(processes, options, results):
    latencies = {engine: [] for engine in processes}
    used, idle, waited = {}, dict.fromkeys(processes, 0.0), dict.fromkeys(processes, 0.0)
    for number in range(options.rounds):
        for engine in order(list(processes), number):
            if "error" in results[engine]:
                continue
            settle()
            for other, process in processes.items():
                used[other] = process.cpu_seconds()
            begin = datetime.datetime.now()
            samples = attempt(
                results,
                engine,
                lambda: processes[engine].call("round", ROUND_SECONDS, LEAST_RUNS),
            )
            seconds = (datetime.datetime.now() - begin).total_seconds()
            for other, process in processes.items():
                if other != engine:
                    idle[other] += process.cpu_seconds() - used[other]
                    waited[other] += seconds
            latencies[engine] += samples or []
    for engine, samples in latencies.items():
        if samples and "error" not in results[engine]:
            low, median, high = np.percentile(samples, [10, 50, 90])
            results[engine].update(
                median_ms=float(median),
                p10_ms=float(low),
                p90_ms=float(high),
                runs=len(samples),
                idle_cpu=idle[engine] / waited[engine] if waited[engine] else 0.0,
            )


def measure_model(name, options, section):
    results = section["models"].setdefault(name, {})
    try:
        case = models.case(name)
    except ImportError as error:
        results.update({e: {"error": f"no input: {error}"} for e in options.engines})
        return
    Path(case.path).read_bytes()  # into the page cache: no engine pays for the disk
    with ExitStack() as stack:
        processes, outputs = measure_load(case, options.engines, options, results)
        for engine, process in processes.items():
            stack.callback(process.close)
            section["versions"][engine] = process.version
        add_differences(results, outputs)
        if options.quantized:
            results["step"] = {"size": models.output_step(case.path)}
        measure_latency(processes, options, results)


def changing_work():
    """name -> (model, worker command, its arguments after the number of passes)"""
    detection, recognition = (models.case(name) for name in ("ppocr_det", "ppocr_rec"))
    det_input, rec_input = next(iter(detection.feeds)), next(iter(recognition.feeds))
    sizes, widths = models.detection_sizes(), models.recognition_widths()
    det = [{det_input: picture} for picture in models.pictures(sizes)]
    rec = [{rec_input: picture} for picture in models.pictures([(48, w) for w in widths])]
    models.FILLED.mkdir(parents=True, exist_ok=True)
    decode = models.FILLED / "decode.onnx"
    decode_graph.write(decode)
    feeds, past = decode_graph.first_feeds(), decode_graph.past_names()
    return {
        f"PP-OCR det, {len(det)} sizes": (detection.path, "passes", [det]),
        f"PP-OCR rec, {len(rec)} widths": (recognition.path, "passes", [rec]),
        f"decode, {DECODE_STEPS} steps": (str(decode), "decode", [DECODE_STEPS, feeds, past]),
    }


def measure_binds(name, path, command, arguments, options, section):
    """What Onrush needs to give its plan another size; one thread binds."""
    try:
        with Process("onrush", options.threads) as process:
            plans, times = process.call("binds", path, options.threads, command, *arguments)
    except EngineError as error:
        print(f"{name}: no binds: {error}", file=sys.stderr)
        return
    section["load"] = max(section["load"], os.getloadavg()[0])
    section["binds"][name] = {"plans": plans, "sizes": len(times) + 1, "ms": times}


def bert_lengths():
    feeds = models.architecture_feeds("bert_base")
    lengths = [8 * n for n in range(1, 17)]
    return [{name: array[:, :length] for name, array in feeds.items()} for length in lengths]


def measure_passes(path, command, arguments, options, results, versions):
    totals, outputs = {e: [] for e in options.engines}, {}
    for number in range(options.rounds):
        for engine in order(options.engines, number):
            if "error" in results.get(engine, {}):
                continue

            def work():
                with Process(engine, options.threads) as process:
                    versions[engine] = process.version
                    create_ms = process.call("make_session", path)
                    passes, outputs = process.call(command, 2, *arguments)
                    return [create_ms, *passes], outputs

            answer = attempt(results, engine, work)
            if answer:
                totals[engine].append(answer[0])
                outputs[engine] = answer[1]
    for engine, passes in totals.items():
        if passes and "error" not in results.get(engine, {}):
            create, first, second = (statistics.median(column) for column in zip(*passes))
            results[engine] = {"create_ms": create, "first_ms": first, "second_ms": second}
    add_differences(results, {e: o for e, o in outputs.items() if "error" not in results[e]})


def names(text):
    return [name for name in text.split(",") if name]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=names, metavar="NAME,...")
    parser.add_argument("--engines", type=names, metavar="NAME,...", help=", ".join(ENGINES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, help="default: 15; with --changing-shapes 3")
    parser.add_argument(
        "--loads",
        type=int,
        default=3,
        help="fresh processes that measure the load (default: %(default)s); more where it is fast",
    )
    parser.add_argument(
        "--changing-shapes", action="store_true", help="measure that in place of fixed shapes"
    )
    parser.add_argument(
        "--quantized", action="store_true", help="measure models of 8-bit integers instead"
    )
    parser.add_argument("--brief", action="store_true", help="one table; takes two engines")
    parser.add_argument("--json", type=Path, default=models.BUILD / "bench_cpu.json")
    parser.add_argument("--update-docs", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    everything = [*models.ARCHITECTURES, *models.REAL]
    options.models = options.models or (models.QUANTIZED if options.quantized else everything)
    peers = ["onrush", "onnxruntime"] if options.quantized else list(ENGINES)
    options.engines = options.engines or peers
    unknown = [e for e in options.engines if e not in ENGINES]
    if unknown or (options.brief and len(options.engines) != 2):
        parser.error(f"unknown engine {unknown[0]}" if unknown else "--brief takes two engines")
    options.rounds = options.rounds or (3 if options.changing_shapes else 15)
    return options


def measure(options, section, progress):
    if options.changing_shapes:
        for name, (path, command, arguments) in changing_work().items():
            results = section["models"].setdefault(name, {})
            progress(name)
            measure_passes(path, command, arguments, options, results, section["versions"])
            measure_binds(name, path, command, arguments, options, section)
        bert, lengths = models.case("bert_base"), bert_lengths()
        name = f"BERT, {len(lengths)} lengths"
        progress(name)
        measure_binds(name, bert.path, "passes", [lengths], options, section)
    else:
        for name in options.models:
            progress(name)
            measure_model(name, options, section)


def main():
    options = parse()
    name = "fixed-shapes"
    if options.changing_shapes or options.quantized:
        name = "changing-shapes" if options.changing_shapes else "quantized"
    section = new_section(options)

    def save():
        everything = json.loads(options.json.read_text()) if options.json.exists() else {}
        everything[name] = section
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(everything, indent=1) + "\n")

    def progress(model):
        save()
        print(f"measuring {model}", file=sys.stderr, flush=True)

    try:
        measure(options, section, progress)
    except KeyboardInterrupt:
        print("interrupted; what is measured so far:", file=sys.stderr)
    save()
    if options.changing_shapes:
        texts = {name: report.changing_report(section), "binding": report.binding_report(section)}
    else:
        reports = {"quantized": report.quantized_report, "fixed-shapes": report.fixed_report}
        texts = {name: (report.brief_report if options.brief else reports[name])(section)}
    for name, text in texts.items():
        print(text)
        if options.update_docs:
            report.update_document(models.ROOT / "docs" / "performance.md", name, text)


if __name__ == "__main__":
    main()
