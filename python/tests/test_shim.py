"""Programs written for onnxruntime, unchanged, through the shim; each in a process of its own."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import models
import numpy as np
import pytest

import onrush

HERE = pathlib.Path(__file__).parent


def run(*arguments, check=True, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def shim(*arguments, **kwargs):
    return run("-m", "onrush.shim", *arguments, **kwargs)


def shimmed(code, **environment):
    return run("-c", "import onrush.shim\n" + code, **environment).stdout


def test_imports():
    printed = shimmed("""
import onnxruntime, onnxruntime as rt
import onnxruntime.capi.onnxruntime_pybind11_state as state
from onnxruntime.capi import _pybind_state as C
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession, OrtValue
from onnxruntime import InferenceSession as same
import onrush
assert same is InferenceSession is onrush.InferenceSession
assert state.InvalidArgument is C.InvalidArgument
assert onnxruntime.capi.onnxruntime_pybind11_state is state
print(onnxruntime.__version__, onnxruntime.get_available_providers())
""")
    assert printed == "1.32.0 ['CPUExecutionProvider']\n"


def test_metadata():
    printed = shimmed("""
import importlib.metadata, importlib.util
assert importlib.util.find_spec("onnxruntime") is not None
distribution = importlib.metadata.distribution("onnxruntime")
print(importlib.metadata.version("onnxruntime"), distribution.metadata["Name"])
print(importlib.metadata.version("numpy") == __import__("numpy").__version__)
""")
    assert printed == "1.32.0 onnxruntime\nTrue\n"


def test_replaces_what_is_imported():
    code = "import onnxruntime, onrush.shim, onnxruntime as o; print(o.InferenceSession.__module__)"
    assert run("-c", code).stdout == "onrush.ort.session\n"


def test_python_packages_of_onnxruntime(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(models.MATMUL)
    shimmed(f"""
from onnxruntime.quantization import quantize_dynamic
quantize_dynamic({str(path)!r}, {str(tmp_path / "quantized.onnx")!r})
""")
    assert (tmp_path / "quantized.onnx").exists()


def test_programs(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, onnxruntime, beside\n"
        "print(__name__, sys.argv[1:], onnxruntime.InferenceSession)\n"
    )
    (tmp_path / "beside.py").write_text("")
    printed = shim(program, "a", "-b").stdout
    assert printed == "__main__ ['a', '-b'] <class 'onrush.ort.session.InferenceSession'>\n"
    assert "usage" in shim("-m", "json.tool", "--help").stdout
    assert shim("no-such-program", check=False).returncode == 1
    assert "PROGRAM" in shim(check=False).stderr


VERIFIED = f"""
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession({models.ADD!r})
assert isinstance(session, onnxruntime.InferenceSession)
feed = {{"x": np.ones((2, 3), np.float32), "y": np.ones(3, np.float32)}}
print(session.run(None, feed)[0].tolist())
"""


def test_verify(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(VERIFIED)
    done = shim(program, ONRUSH_SHIM_VERIFY="1")
    assert done.stdout == "[[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]\n"
    assert "1 runs compared, 0 outputs differ" in done.stderr


def test_verify_reports_differences(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import onrush.verify as v\n"
        "run = v.VerifyingSession._reference.InferenceSession.run\n"
        "v.VerifyingSession._reference.InferenceSession.run = lambda *a: [2 * r for r in run(*a)]\n"
        + VERIFIED
    )
    done = shim(program, ONRUSH_SHIM_VERIFY="1")
    assert "output 'z': off by 2 where the largest is 4" in done.stderr
    assert "1 outputs differ" in done.stderr


@pytest.fixture(params=["cpu", "cuda"])
def place(request):
    """Where a client is told to run Onrush."""
    if request.param == "cuda" and onrush.get_device() == "CPU":
        pytest.skip("skipped: no GPU")
    return request.param


def test_rapidocr_reads_the_same_text(place):
    pytest.importorskip("rapidocr")
    pytest.importorskip("skimage")
    ours = json.loads(shim(HERE / "read_page.py", place).stdout.splitlines()[-1])
    assert ours["provider"] == f"{place.upper()}ExecutionProvider"
    theirs = json.loads(run(HERE / "read_page.py").stdout.splitlines()[-1])
    assert ours["module"].startswith("onrush") and theirs["module"].startswith("onnxruntime")
    assert ours["texts"] == theirs["texts"] != []


def test_magika_gives_the_same_labels():
    pytest.importorskip("magika")
    files = [
        path
        for pattern in ("*.py", "*.txt", "../src/*.cpp", "../../*.toml")
        for path in HERE.glob(pattern)
    ]
    ours = json.loads(shim(HERE / "label_files.py", *files).stdout)
    assert ours == json.loads(run(HERE / "label_files.py", *files).stdout)
    assert {"python", "cpp", "toml"} <= set(ours)


def test_transformers_give_the_same(tmp_path, place):
    """optimum.onnxruntime, pipelines of transformers, and sentence-transformers on onnx."""
    for package in ("torch", "transformers", "optimum.onnxruntime", "sentence_transformers"):
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            pytest.skip(f"{package} is not installed")
    offline = {"HF_HUB_OFFLINE": "1"}
    run(HERE / "export_tiny.py", tmp_path, **offline)
    program = HERE / "use_transformers.py"
    provider = f"{place.upper()}ExecutionProvider"
    ours = json.loads(shim(program, tmp_path, provider, **offline).stdout.splitlines()[-1])
    theirs = json.loads(run(program, tmp_path, **offline).stdout.splitlines()[-1])
    assert ours["module"].startswith("onrush") and theirs["module"].startswith("onnxruntime")
    assert ours["tokens"] == theirs["tokens"]
    tolerance = 1e-5 if place == "cpu" else 1e-2  # tf32 on the GPU
    for our_scores, their_scores in zip(ours["classes"], theirs["classes"], strict=True):
        assert our_scores == pytest.approx(their_scores, abs=tolerance)
    np.testing.assert_allclose(ours["embeddings"], theirs["embeddings"], 1e-4, tolerance)


def test_distribution_of_that_name(tmp_path):
    """python/onnxruntime-dist: the name onnxruntime without the shim being imported first."""
    folder = HERE.parent / "onnxruntime-dist"
    project = (folder / "pyproject.toml").read_text()
    version = run("-c", "import onrush; print(onrush.__version__)").stdout.strip()
    assert f'version = "{version}"' in project and f"onrush=={version}" in project
    program = tmp_path / "program.py"
    program.write_text("""
import sys
import onnxruntime
import onnxruntime.capi.onnxruntime_pybind11_state as state
from onnxruntime.capi import _pybind_state
import importlib.metadata
import onrush
assert sys.modules["onnxruntime"] is onnxruntime
assert onnxruntime.InferenceSession is onrush.InferenceSession
assert state.Fail is _pybind_state.Fail
print(importlib.metadata.version("onnxruntime"))
""")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    assert run(program, PYTHONPATH=path).stdout == "1.32.0\n"
