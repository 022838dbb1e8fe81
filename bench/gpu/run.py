#!/usr/bin/env python3
"""Measures the networks of bench/models on a GPU beside onnxruntime and PyTorch: `onrush compare`
for each network, precision, batch and placement, and tables of what it finds.

  python bench/gpu/run.py [--onrush PROGRAM] [--configurations fp16-1,...] [--models NAME,...]
    [--engines NAME,...] [--rounds N] [--folder FOLDER] [--json FILE] [--update-docs]

The interpreter that runs this runs the peers, too: it needs onnx, onnxruntime-gpu, and PyTorch with
CUDA, torchvision and transformers. Weights are random, drawn as bench/models/README.md says; PyTorch
draws its own.

A configuration is PRECISION-BATCH[-host]. fp16: Onrush and onnxruntime run one file, converted to
halves by onnxruntime's own tool; PyTorch runs .half(). tf32: all run in fp32 with tf32 allowed.
Inputs and outputs lie on the GPU; with -host they are NumPy arrays. PyTorch runs images in
channels_last. Kernel caches are empty when an engine first sees a network, and kept after that.
"""
import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench/cpu"))
import report  # noqa: E402

IMAGES = ["resnet50", "mobilenet_v3_large", "efficientnet_b0", "vit_b_16", "convnext_tiny"]
MODELS = [*IMAGES, "bert_base", "gpt2"]
CONFIGURATIONS = ["fp16-1", "fp16-32", "tf32-1", "fp16-1-host"]
ENGINES = ["onrush:tuned", "onnxruntime", "onnxruntime:tuned", "pytorch", "pytorch:graph", "pytorch:compile"]
SEQUENCE = 128


def model_file(folder, name, precision):
    full = folder / f"{name}.onnx"
    if not full.exists():
        script, graph = ROOT / "bench/models/fill_weights.py", ROOT / f"bench/models/{name}.onnx"
        subprocess.run([sys.executable, script, graph, full], check=True)
    half = folder / f"{name}_fp16.onnx"
    if precision == "fp16" and not half.exists():
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(full)), half)
    return half if precision == "fp16" else full


def shapes(name, batch):
    if name in IMAGES:
        return [f"input={batch}x3x224x224"]
    inputs = ["input_ids"]
    if name == "bert_base":
        inputs += ["attention_mask", "token_type_ids"]
    return [f"{each}={batch}x{SEQUENCE}" for each in inputs]


def engine_names(name, precision, engines):
    """As `onrush compare` has them, by what the tables call them."""
    extra = (["channels_last"] if name in IMAGES else []) + (["half"] if precision == "fp16" else [])
    names = {}
    for engine in engines:
        peer, *variants = engine.replace(":", "+").split("+")
        if peer == "pytorch":
            variants = extra + variants
        names[engine] = ":".join([peer, "+".join(variants)]) if variants else peer
    return names


def compare(name, configuration, options):
    precision, batch, *where = configuration.split("-")
    names = engine_names(name, precision, options.engines)
    file = options.folder / f"{name}-{configuration}.json"
    command = [
        options.onrush, "compare", model_file(options.folder, name, precision),
        "--device", "cuda", "--precision", precision, "--with", ",".join(names.values()),
        "--placement", "host" if where else "device", "--torch", f"networks:{name}",
        "--python", sys.executable, "--rounds", options.rounds, "--json", file,
        *(word for shape in shapes(name, int(batch)) for word in ("--shape", shape)),
    ]  # fmt: skip
    done = subprocess.run(
        [str(word) for word in command],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode or not file.exists():
        return {"onrush": {"error": (done.stderr.strip() or "no result").splitlines()[-1]}}
    found = json.loads(file.read_text())
    labels = {full: engine for engine, full in names.items()} | {"onrush": "onrush"}
    rows = {}
    for row in found["latency"] + found["start"]:
        rows.setdefault(labels[row["engine"]], {}).update(row)
    for full, rounds in found["details"]["rounds_ms"].items():
        runs = sorted(run for each in rounds for run in each)
        if runs:
            rows[labels[full]]["p10_ms"] = runs[len(runs) // 10]
    for row in rows.values():
        if row.get("failure"):
            row["error"] = row["failure"]
    return {**rows, "remarks": found["remarks"]}


def engine_rows(results):
    return {engine: row for engine, row in results.items() if isinstance(row, dict)}


def best_peer(results, key="median_ms"):
    rows = engine_rows(results).items()
    peers = [row.get(key) for engine, row in rows if not engine.startswith("onrush")]
    return min((value for value in peers if value), default=None)


def microseconds(results, engine):
    row = results.get(engine, {})
    if row.get("median_ms") is None:
        return "-"
    low, middle, high = (1e3 * row[key] for key in ("p10_ms", "median_ms", "p90_ms"))
    return f"{middle:.0f} ({low:.0f}-{high:.0f})"


def latency_table(engines, models):
    lines, ratios = [], []
    for name, results in models.items():
        ours, best = report.field(results, "onrush", "median_ms"), best_peer(results)
        ratios.append(best / ours if ours and best else None)
        cells = [microseconds(results, engine) for engine in engines]
        lines.append([name, *cells, report.number(ratios[-1])])
    mean = report.number(report.geometric_mean(ratios))
    lines.append(["geometric mean", *[""] * len(engines), mean])
    return report.table(["model, µs (p10-p90)", *engines, "best peer / onrush"], lines)


def plain_table(title, engines, models, key, scale=1):
    def cell(results, engine):
        value = report.field(results, engine, key)
        return "-" if value is None else report.number(scale * value)

    lines = [[name, *(cell(r, e) for e in engines)] for name, r in models.items()]
    return report.table([title, *engines], lines)


def section(configuration, models, options):
    measured = set().union(*models.values())
    engines = ["onrush", *(engine for engine in options.engines if engine in measured)]
    precision, batch, *where = configuration.split("-")
    title = f"#### {precision}, batch {batch}, {'NumPy in and out' if where else 'on the GPU'}"
    texts = [title, latency_table(engines, models)]
    if not where:
        for name, key, scale in (
            ("load and first run, s", "start_ms", 1e-3),
            ("GPU memory, MB", "gpu_bytes", 1e-6),
        ):
            texts.append(plain_table(name, engines, models, key, scale))
    errors = report.errors({name: engine_rows(results) for name, results in models.items()})
    return "\n\n".join([*texts, *([errors] if errors else [])])


def all_sections(found, options):
    texts = [section(each, models, options) for each, models in found.items() if models]
    first = next((r for models in found.values() for r in models.values() if "remarks" in r), {})
    versions = {e: row.get("version") for e, row in engine_rows(first).items()}
    listed = ", ".join(f"{engine} {version}" for engine, version in versions.items() if version)
    texts.append(
        f"{report.gpu_name()}; {datetime.date.today()}; {listed}. Medians of "
        f"{options.rounds} rounds in which the engines took turns, each load and first run with empty "
        "caches."
    )
    return "\n\n".join(texts)


def update_docs(text):
    begin, end = (f"<!-- bench/gpu: {word} -->" for word in ("begin", "end"))
    path = ROOT / "docs/performance.md"
    old = path.read_text()
    block = f"{begin}\n### Seven networks on a GPU\n\n{text}\n{end}"
    if begin in old:
        new = old[: old.index(begin)] + block + old[old.index(end) + len(end) :]
    else:
        new = f"{old.rstrip()}\n\n{block}\n"
    path.write_text(new)


def parse():
    def words(text):
        return text.split(",")

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--onrush", type=Path, default=ROOT / "build/release/src/cli/onrush")
    parser.add_argument("--configurations", type=words, default=CONFIGURATIONS)
    parser.add_argument("--models", type=words, default=MODELS)
    parser.add_argument("--engines", type=words, default=ENGINES, help="peers")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=ROOT / "build/models")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--update-docs", action="store_true")
    return parser.parse_args()


def main():
    options = parse()
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    options.onrush = options.onrush.resolve()
    found = {configuration: {} for configuration in options.configurations}
    for configuration, models in found.items():
        for name in options.models:
            print(f"{configuration}: {name}", file=sys.stderr, flush=True)
            models[name] = compare(name, configuration, options)
            for row in engine_rows(models[name]).values():
                if row.get("first_ms") is not None:
                    row["start_ms"] = row["load_ms"] + row["first_ms"]
            if options.json:
                options.json.write_text(json.dumps(found, indent=1))
    text = all_sections(found, options)
    print(text)
    if options.update_docs:
        update_docs(text)


if __name__ == "__main__":
    main()
