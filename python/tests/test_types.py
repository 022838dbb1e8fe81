"""The annotations, as a type checker reads them."""

import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("mypy")

PACKAGE = pathlib.Path(__file__).parents[1]


def check(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--ignore-missing-imports", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=PACKAGE,
        timeout=300,
    )


def test_package(tmp_path):
    done = check("--cache-dir", tmp_path, "-p", "onrush")
    assert done.returncode == 0, done.stdout


def test_user(tmp_path):
    """Types of what programs call; and a mistake is seen."""
    program = tmp_path / "program.py"
    program.write_text("""
import numpy as np
import onrush
session = onrush.Session("model.onnx", threads=4)
reveal_type(session.run({"x": np.ones(3)}))
reveal_type(session.inputs[0].shape)
reveal_type(onrush.InferenceSession("m").get_inputs())
session = onrush.Session("model.onnx", thread=4)
""")
    printed = check("--cache-dir", tmp_path, program).stdout
    assert '"dict[str, Any]"' in printed
    assert '"tuple[int | str | None, ...] | None"' in printed
    assert "fallback=onrush.ort.metadata.NodeArg" in printed
    assert 'Unexpected keyword argument "thread"' in printed
