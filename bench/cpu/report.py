"""Tables of the results, in Markdown that also reads well on a terminal."""
import math
import re
import statistics
import subprocess


def table(header, rows):
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row):
        first = row[0].ljust(widths[0])
        return "| " + " | ".join([first, *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]) + " |"

    rule = "| " + " | ".join(["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]) + " |"
    return "\n".join([line(header), rule, *map(line, rows)])


def number(value):
    """Three digits that count."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 3)}f}" if abs(value) >= 1e-3 else f"{value:.0e}"


def geometric_mean(values):
    values = [v for v in values if v]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def field(results, engine, name):
    return results.get(engine, {}).get(name)


def ratio(results, peer, engine, name):
    """How many times the peer's value is the engine's; over 1, the engine is the better."""
    ours, theirs = field(results, engine, name), field(results, peer, name)
    return theirs / ours if ours and theirs else None


def load_ms(results, engine):
    create, first = field(results, engine, "create_ms"), field(results, engine, "first_ms")
    return create + first if create is not None else None


def spread(results, engine):
    median = field(results, engine, "median_ms")
    if median is None:
        return "-"
    low, high = (number(field(results, engine, key)) for key in ("p10_ms", "p90_ms"))
    return f"{number(median)} ({low}-{high})"


def errors(models):
    lines = [
        f"- {model}, {engine}: {result['error']}"
        for model, results in models.items()
        for engine, result in results.items()
        if "error" in result
    ]
    return "\n".join(["Without a result:", "", *lines]) if lines else ""


def pairs(engines):
    """(engine, peer) of the same precision."""
    return [
        (ours, peer)
        for ours in engines
        for peer in engines
        if ours.startswith("onrush")
        and not peer.startswith("onrush")
        and ours.endswith("bf16") == peer.endswith("bf16")
    ]


def latency_table(section):
    engines, models = section["engines"], section["models"]
    compared = pairs(engines)
    header = ["model, ms (p10-p90)", *engines, *(f"{a} vs {b}" for a, b in compared)]
    rows = [
        [
            model,
            *(spread(results, e) for e in engines),
            *(number(ratio(results, b, a, "median_ms")) for a, b in compared),
        ]
        for model, results in models.items()
    ]
    means = [
        geometric_mean(ratio(r, b, a, "median_ms") for r in models.values()) for a, b in compared
    ]
    rows.append(["geometric mean", *[""] * len(engines), *map(number, means)])
    return table(header, rows)


def load_table(section):
    engines = section["engines"]
    header = ["model", *(f"{e}, ms" for e in engines), *(f"{e}, MB" for e in engines)]
    rows = [
        [
            model,
            *(number(load_ms(results, e)) for e in engines),
            *(number(field(results, e, "peak_mb")) for e in engines),
        ]
        for model, results in section["models"].items()
    ]
    return table(header, rows)


def difference_table(section):
    engines = [e for e in section["engines"] if e != "onnxruntime"]
    rows = [
        [model, *(number(field(results, e, "relative_difference")) for e in engines)]
        for model, results in section["models"].items()
    ]
    return table(["model", *engines], rows)


def conditions(section):
    versions = ", ".join(f"{e} {v}" for e, v in section["versions"].items())
    idle = max(
        (r.get("idle_cpu", 0) for m in section["models"].values() for r in m.values()), default=0
    )
    noise = f" Engines that waited for their turn used {100 * idle:.1f} % of a core." if idle else ""
    facts = [f"{section['machine']}, {section['threads']} threads", section["date"], versions]
    return "; ".join(facts) + "." + noise


def fixed_report(section):
    parts = [
        "### Latency, batch 1",
        f"{section['rounds']} rounds, the engines by turns in each; medians of all runs. "
        "Ratios over 1: Onrush is the faster.",
        latency_table(section),
        "### Load (creation through first result) and peak memory of the process",
        load_table(section),
        "### Largest difference to onnxruntime, as a part of the largest output",
        difference_table(section),
        errors(section["models"]),
        conditions(section),
    ]
    return "\n\n".join(part for part in parts if part)


def step_table(section):
    """Differences in steps of quantised outputs, or as a part of the largest value of others."""
    engines = [e for e in section["engines"] if e != "onnxruntime"]
    rows = []
    for model, results in section["models"].items():
        step = field(results, "step", "size")
        kind = "steps" if step else "of the largest"
        rows.append([model, kind])
        for engine in engines:
            absolute, relative = (
                field(results, engine, name) for name in ("difference", "relative_difference")
            )
            value = absolute / step if step and absolute is not None else relative
            rows[-1].append(number(value))
    return table(["model", "in", *engines], rows)


def quantized_report(section):
    parts = [
        "### Models of 8-bit integers, batch 1",
        "As onnxruntime's tools quantise them: qdq and qoperator with scales from calibration, "
        "dynamic with those of each input. "
        f"{section['rounds']} rounds, the engines by turns in each; medians of all runs. "
        "Ratios over 1: Onrush is the faster.",
        latency_table(section),
        "### Largest difference of quantised outputs to onnxruntime",
        step_table(section),
        errors(section["models"]),
        conditions(section),
    ]
    return "\n\n".join(part for part in parts if part)


def binding_report(section):
    rows = [
        [
            work,
            str(bind["plans"]),
            *(number(of(bind["ms"])) for of in (statistics.median, min, max)),
        ]
        for work, bind in section["binds"].items()
    ]
    parts = [
        "### Binding a new size",
        "What Onrush does before the first run at a size that its plan has not had, on one thread.",
        table(["work", "plans", "median, ms", "least, ms", "most, ms"], rows),
        f"{section['machine']}; {section['date']}. Processes that wanted one of the "
        f"{section['processors']} processors meanwhile, this one included: {section['load']:.1f}.",
    ]
    return "\n\n".join(parts)


def changing_report(section):
    engines = section["engines"]
    rows = []
    for work, results in section["models"].items():
        for key, title in (
            ("create_ms", "the session"),
            ("first_ms", "first pass"),
            ("second_ms", "second pass"),
        ):
            values = [field(results, e, key) for e in engines]
            rows.append([f"{work}, {title}", *map(number, values)])
    parts = [
        "### Changing shapes, ms for the whole pass",
        f"Every call of the first pass has a shape never seen; medians of {section['rounds']} fresh "
        "processes of each engine. Onrush makes its plan in the first call, the others when the "
        "session is made.",
        table(["work", *engines], rows),
        "### Changing shapes, largest difference to onnxruntime, as a part of the largest output",
        difference_table(section),
        errors(section["models"]),
        conditions(section),
    ]
    return "\n\n".join(part for part in parts if part)


def brief_report(section):
    """One engine beside one peer, for the demo."""
    ours, peer = section["engines"]
    short = "ORT" if peer == "onnxruntime" else peer
    header = ["model", "largest difference"]
    for title in ("load", "first run", "median"):
        header += [f"{title}, ms: Onrush", short]
    rows = []
    for model, results in section["models"].items():
        row = [model, number(field(results, ours, "relative_difference"))]
        for key in ("create_ms", "first_ms", "median_ms"):
            row += [number(field(results, e, key)) for e in (ours, peer)]
        rows.append([*row, number(ratio(results, peer, ours, "median_ms"))])
    legend = (
        "load: making the session; median: of all later runs; speed-up: of the medians; largest "
        "difference: to onnxruntime, as a part of the largest output."
    )
    shown = table([*header, "speed-up"], rows)
    parts = [shown, legend, errors(section["models"]), conditions(section)]
    return "\n\n".join(part for part in parts if part)


def gpu_name():
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", "--id=0"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def update_document(path, name, text, folder="bench/cpu"):
    """Puts the text between the markers of that name; at the end if they are not there."""
    begin, end = f"<!-- {folder} {name}: begin -->", f"<!-- {folder} {name}: end -->"
    block = f"{begin}\n{text}\n{end}"
    old = path.read_text() if path.exists() else "# Performance\n"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    new = pattern.sub(lambda _: block, old) if begin in old else f"{old.rstrip()}\n\n{block}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(new)
