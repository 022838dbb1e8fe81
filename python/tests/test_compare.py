"""``onrush compare`` with peers that are there, and with some that behave badly."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import models
import numpy as np
import onnx
import pytest

# In place of onnxruntime; what it does when a session is made.
FAKE = """
import numpy as np
__version__ = "0.0"
class SessionOptions: pass
class InferenceSession:
    def __init__(self, *_, **__):
        {deed}
    def run(self, names, feeds):
        return [next(iter(feeds.values()))]
    def get_outputs(self):
        return []
"""


def compare(model, tmp_path, *options, fake=None, code=0):
    """The report of ``onrush compare``."""
    path = tmp_path / "report.json"
    environment = dict(os.environ)
    if fake:
        (tmp_path / "onnxruntime").mkdir()
        (tmp_path / "onnxruntime" / "__init__.py").write_text(FAKE.format(deed=fake))
        inherited = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = f"{tmp_path}:{inherited}"
    result = subprocess.run(
        [sys.executable, "-m", "onrush", "compare", str(model), "--rounds", "8", "--threads", "1"]
        + ["--json", str(path), *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return json.loads(path.read_text())


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    x, y = (models.tensor(name, models.FLOAT, [1, 3]) for name in "xy")
    path.write_bytes(models.model([models.node("Relu", ["x"], ["y"])], [x], [y]))
    return path


def rows(report, table="latency"):
    return {row["engine"]: row for row in report[table]}


def needs(module):
    there = importlib.util.find_spec(module) is not None
    return pytest.mark.skipif(not there, reason=f"{module} is not installed")


@pytest.mark.parametrize(
    "peer, module",
    [
        pytest.param("onnxruntime", "onnxruntime", marks=needs("onnxruntime")),
        pytest.param("onnxruntime:iobinding", "onnxruntime", marks=needs("onnxruntime")),
        pytest.param("onnxruntime:tuned", "onnxruntime", marks=needs("onnxruntime")),
        pytest.param("openvino", "openvino", marks=needs("openvino")),
    ],
)
def test_peer_computes_the_same(model, tmp_path, peer, module):
    report = compare(model, tmp_path, "--with", peer)
    row = rows(report)[peer]
    assert "failure" not in row
    assert row["median_ms"] > 0 and row["runs"] >= 16
    assert row["version"] == importlib.import_module(module).__version__.split("-")[0]
    assert rows(report, "start")[peer]["load_ms"] > 0
    assert rows(report, "accuracy")["onrush"]["absolute"] == 0
    assert len(report["details"]["rounds_ms"][peer]) == 8
    assert report["details"]["verdicts"][peer]["low"] > 0


TORCH_MODULE = """
import torch
class Relu(torch.nn.Module):
    def forward(self, x):
        return {"y": torch.relu(x)}
"""


@needs("torch")
@pytest.mark.parametrize("variant", ["", ":channels_last", ":autocast", ":half+compile"])
def test_pytorch_module(model, tmp_path, monkeypatch, variant):
    (tmp_path / "relu_module.py").write_text(TORCH_MODULE)
    monkeypatch.chdir(tmp_path)
    report = compare(model, tmp_path, "--with", "pytorch" + variant, "--torch", "relu_module:Relu")
    row = rows(report)["pytorch" + variant]
    assert "failure" not in row and row["median_ms"] > 0
    assert rows(report, "accuracy")["onrush"]["relative"] < 0.01


@needs("torch")
def test_exported_program(model, tmp_path):
    import torch

    program = torch.export.export(torch.nn.ReLU(), (torch.zeros(1, 3),))
    torch.export.save(program, tmp_path / "relu.pt2")
    report = compare(model, tmp_path, "--with", "pytorch", "--torch", str(tmp_path / "relu.pt2"))
    assert rows(report, "accuracy")["onrush"]["absolute"] == 0


@needs("torch")
def test_pytorch_without_a_module(model, tmp_path):
    if importlib.util.find_spec("onnx2torch"):
        pytest.skip("onnx2torch is installed")
    failure = rows(compare(model, tmp_path, "--with", "pytorch"))["pytorch"]["failure"]
    assert "--torch" in failure and "onnx2torch" in failure


@pytest.mark.parametrize(
    "deed, reason",
    [
        ("raise RuntimeError('opset 99 is not supported')", "opset 99 is not supported"),
        ("raise MemoryError", "out of memory"),
        ("import os; os.abort()", "crashed: Aborted"),
        ("import os; os._exit(7)", "ended with exit code 7"),
        ("import time; time.sleep(1000)", "gave no answer in 2 s"),
    ],
)
def test_bad_peer_is_a_row(model, tmp_path, deed, reason):
    report = compare(model, tmp_path, "--with", "onnxruntime", "--timeout", "2", fake=deed)
    assert reason in rows(report)["onnxruntime"]["failure"]
    assert rows(report)["onrush"]["median_ms"] > 0


def test_peer_with_other_outputs(model, tmp_path):
    report = compare(model, tmp_path, "--with", "onnxruntime", "--against", "onrush", fake="pass")
    assert rows(report, "accuracy")["onnxruntime"]["absolute"] > 0


def test_debug_accuracy_writes_what_shows_it(model, tmp_path):
    np.savez(tmp_path / "inputs.npz", x=np.array([[-1, 0, 5]], np.float32))
    report = compare(
        model, tmp_path, "--with", "onnxruntime", "--input", str(tmp_path / "inputs.npz"),
        "--debug-accuracy", str(tmp_path / "part"), fake="pass",
    )  # fmt: skip
    assert "first part at the Relu that makes 'y'" in report["remarks"][-1]
    assert [n.op_type for n in onnx.load(tmp_path / "part" / "model.onnx").graph.node] == ["Relu"]
    assert np.load(tmp_path / "part" / "inputs.npz")["x"].tolist() == [[-1, 0, 5]]


def test_input_files_reach_all_engines(model, tmp_path):
    np.savez(tmp_path / "inputs.npz", x=np.array([[-1, 0, 5]], np.float32))
    report = compare(
        model, tmp_path, "--with", "onrush:fp32", "--input", str(tmp_path / "inputs.npz")
    )
    assert report["inputs"] == "x 1x3"
    assert rows(report, "accuracy")["onrush"]["absolute"] == 0


def test_interrupt_prints_what_there_is(model, tmp_path):
    path = tmp_path / "report.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "onrush", "compare", str(model), "--with", "onrush:fp32"]
        + ["--rounds", "100000", "--json", str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Interrupted; this is what was measured so far." in out
    assert rows(json.loads(path.read_text()))["onrush"]["runs"] > 0
