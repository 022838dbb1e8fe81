"""python -m onrush: the program."""

import subprocess
import sys

import models
import numpy as np

import onrush


def program(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "onrush", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_version_and_doctor():
    assert program("--version").stdout == f"onrush {onrush.__version__}\n"
    told = program("doctor")
    assert told.returncode == 0 and "CUDA" in told.stdout


def test_run(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(models.ADD)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.ones(3, np.float32))
    done = program(
        "run", model, "--input", f"x={tmp_path / 'x.npy'}", "--input", f"y={tmp_path / 'y.npy'}",
        "--output-dir", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), x + 1)


def test_exit_codes():
    assert program("run", "/nonexistent.onnx").returncode == 1
    assert program("frobnicate").returncode == 2
