"""A plan serves many sizes: how many plans real models need for inputs that all differ."""

import sys
from pathlib import Path

import numpy as np
import pytest

import onrush

sys.path.append(str(Path(__file__).parents[2] / "bench" / "cpu"))


def ocr_model(kind):
    rapidocr = pytest.importorskip("rapidocr")
    models = Path(rapidocr.__file__).parent / "models"
    (path,) = models.glob(f"PP-OCRv6_{kind}_*.onnx")
    return path


def run_all(session, feeds):
    """Runs each; gives the number of plans."""
    for feed in feeds:
        session.run(feed)
    return len(session.plans)


def images(session, sizes):
    random = np.random.default_rng(0)
    name = session.inputs[0].name
    for height, width in sizes:
        yield {name: random.random((1, 3, height, width), np.float32)}


def test_detection_of_text():
    session = onrush.Session(ocr_model("det"))
    sizes = [(32 * (3 + i), 32 * (3 + 7 * i % 20)) for i in range(20)]
    assert run_all(session, images(session, sizes)) <= 2


def test_recognition_of_text():
    session = onrush.Session(ocr_model("rec"))
    sizes = [(48, 160 + 8 * i) for i in range(40)]
    assert run_all(session, images(session, sizes)) <= 2


def test_decoding_with_a_growing_cache(tmp_path):
    pytest.importorskip("onnx")  # writes the graph
    import decode_graph

    sizes = decode_graph.Sizes()
    decode_graph.write(tmp_path / "decode.onnx")
    session = onrush.Session(tmp_path / "decode.onnx")
    names = [output.name for output in session.outputs]
    feed = decode_graph.first_feeds(sizes=sizes)
    for step in range(64):
        outputs = session.run(feed)
        feed = {name.replace("present", "past_key_values"): outputs[name] for name in names[1:]}
        past = 17 + step
        feed["input_ids"] = np.array([[step]], np.int64)
        feed["attention_mask"] = np.ones((1, past + 1), np.int64)
        feed["position_ids"] = np.array([[past]], np.int64)
    assert len(session.plans) <= 2
