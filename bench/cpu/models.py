"""What is measured: real trained models out of Python packages on real input, and well-known
architectures whose weights are drawn from the statistics of the trained ones."""
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
GRAPHS = ROOT / "bench" / "models"
BUILD = Path(os.environ.get("ONRUSH_BUILD_ROOT", ROOT / "build"))
FILLED = BUILD / "models"

REAL = ["magika", "ppocr_det", "ppocr_rec", "ppocr_cls"]
ARCHITECTURES = [
    "resnet50",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "vit_b_16",
    "convnext_tiny",
    "bert_base",
    "gpt2",
]
# As onnxruntime's tools quantise them: bench/models/quantize.py says what the forms are.
QUANTIZED = [
    f"{name}_{form}" for name in ("resnet50", "bert_base") for form in ("qdq", "qoperator", "dynamic")
] + ["mobilenet_v3_large_qdq"]
SEQUENCE = 128


@dataclass
class Case:
    name: str
    path: str
    feeds: dict  # input name -> array


def case(name):
    """The model and its inputs; raises ImportError if the package that has them is missing."""
    if name in QUANTIZED:
        return quantized(name)
    return real_case(name) if name in REAL else architecture(name)


def quantized(name):
    base, form = name.rsplit("_", 1)
    plain, path = architecture(base), FILLED / f"{name}.onnx"
    if not path.exists():
        print(f"quantising {name}", file=sys.stderr, flush=True)
        partial = path.with_suffix(".partial")
        script = GRAPHS / "quantize.py"
        subprocess.run([sys.executable, script, plain.path, form, partial], check=True)
        partial.rename(path)
    return Case(name, str(path), plain.feeds)


def output_step(path):
    """The scale of the integers that the first output stands for; None if it is not quantised."""
    import onnx

    graph = onnx.load(path).graph
    makers = [n for n in graph.node if graph.output[0].name in n.output]
    if not makers or makers[0].op_type != "DequantizeLinear":
        return None
    scales = [t for t in graph.initializer if t.name == makers[0].input[1]]
    return float(onnx.numpy_helper.to_array(scales[0])) if scales else None


def architecture(name):
    """Also takes NAME_torchscript: the same network from the older exporter."""
    path = FILLED / f"{name}.onnx"
    if not path.exists():
        fill_weights(name, path)
    return Case(name, str(path), architecture_feeds(name))


def fill_weights(name, path):
    FILLED.mkdir(parents=True, exist_ok=True)
    print(f"drawing the weights of {name}", file=sys.stderr, flush=True)
    partial = path.with_suffix(".partial")
    script = GRAPHS / "fill_weights.py"
    subprocess.run([sys.executable, script, GRAPHS / f"{name}.onnx", partial], check=True)
    partial.rename(path)


def architecture_feeds(name):
    random = np.random.default_rng(0)
    tokens = random.integers(0, 30000, (1, SEQUENCE))
    if name.startswith("bert"):
        return {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
        }
    if name.startswith("gpt2"):
        return {"input_ids": tokens}
    image = random.standard_normal((1, 3, 224, 224), dtype=np.float32)
    return {input_name(FILLED / f"{name}.onnx"): image}


def input_name(path):
    import onnx

    return onnx.load(path, load_external_data=False).graph.input[0].name


def real_case(name):
    return magika_case() if name == "magika" else ocr_cases()[name]


def recorded_runs(program):
    """(model path, feeds) of every run that the program makes through onnxruntime."""
    import onnxruntime

    runs = []
    session = onnxruntime.InferenceSession
    original = session.run

    def run(self, outputs, feeds, options=None):
        runs.append((self._model_path, {k: np.asarray(v) for k, v in feeds.items()}))
        return original(self, outputs, feeds, options)

    session.run = run
    try:
        program()
    finally:
        session.run = original
    return runs


def magika_case():
    from magika import Magika

    runs = recorded_runs(lambda: Magika().identify_path(Path(__file__)))
    path, feeds = runs[0]
    return Case("magika", str(path), {k: v.astype(np.int32) for k, v in feeds.items()})


def ocr_cases():
    """Detection, recognition and direction as rapidocr runs them on the page, one line at a time."""
    import skimage.data
    from rapidocr import RapidOCR

    reader = RapidOCR(params={"Global.log_level": "error"})
    cases = {}
    for path, feeds in recorded_runs(lambda: reader(skimage.data.page())):
        name = next(n for n in ("det", "rec", "cls") if f"_{n}_" in Path(path).name)
        one = {k: np.ascontiguousarray(v[:1]) for k, v in feeds.items()}
        cases.setdefault(f"ppocr_{name}", Case(f"ppocr_{name}", str(path), one))
    return cases


def pictures(sizes):
    """The page cut and scaled to each (height, width), as [1, 3, height, width] in [-1, 1]."""
    import cv2
    import skimage.data

    page = cv2.cvtColor(skimage.data.page(), cv2.COLOR_GRAY2RGB)
    for height, width in sizes:
        picture = cv2.resize(page, (width, height)).astype(np.float32) / 127.5 - 1
        yield np.ascontiguousarray(picture.transpose(2, 0, 1)[None])


def detection_sizes(count=20):
    """Different sizes of 256 to 736 a side, in steps of 32 as rapidocr's detector takes them."""
    random = np.random.default_rng(1)
    sizes = [(32 * h, 32 * w) for h in range(8, 24) for w in range(8, 24)]
    return [sizes[i] for i in random.permutation(len(sizes))[:count]]


def recognition_widths(count=40):
    """Different widths of 128 to 944."""
    random = np.random.default_rng(2)
    return [int(w) for w in random.permutation(np.arange(128, 945, 8))[:count]]
