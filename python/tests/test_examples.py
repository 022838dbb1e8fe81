"""examples/python and examples/why_slower, each as a user starts it."""

import ast
import http.client
import importlib.util
import io
import itertools
import json
import pathlib
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import models
import numpy as np
import pytest

import onrush

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "python"
WHY_SLOWER = EXAMPLES.parent / "why_slower"


def run(*arguments, check=True):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=check,
    )


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "add.onnx"
    path.write_bytes(models.ADD)
    return path


def test_every_example_is_tested():
    tested = pathlib.Path(__file__).read_text()
    parts = {"README.md", "engines.py", "network.py", "__pycache__"}
    for path in [*EXAMPLES.iterdir(), *WHY_SLOWER.iterdir()]:
        assert f'"{path.name}"' in tested or path.name in parts


def test_ten_lines(model):
    path = EXAMPLES / "ten_lines.py"
    code = ast.parse(path.read_text()).body[1:]  # the docstring left out
    assert sum(not isinstance(statement, ast.Import) for statement in code) <= 10
    assert run(EXAMPLES / "ten_lines.py", model).stdout.startswith("z float32 (2, 3) [")


def test_serve(model):
    server = subprocess.Popen(
        [sys.executable, EXAMPLES / "serve.py", model, "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(server.stdout.readline().strip("/\n").rsplit(":", 1)[1])

        def post(body):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            for _ in range(3):  # on one connection
                connection.request("POST", "/", body)
                response = connection.getresponse()
                answer = response.read()
            connection.close()
            return response.status, answer

        def ask(number):
            file = io.BytesIO()
            x = np.full((number, 3), number, np.float32)
            np.savez(file, x=x, y=np.ones(3, np.float32))
            status, answer = post(file.getvalue())
            assert status == 200
            np.testing.assert_array_equal(np.load(io.BytesIO(answer))["z"], x + 1)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, range(1, 9)))
        status, answer = post(b"no arrays")
        assert status == 400 and answer
        file = io.BytesIO()
        np.savez(file, x=np.ones((2, 3), np.float32))
        assert post(file.getvalue()) == (400, b"input 'y' of type tensor(float) is missing")
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0


def test_torch_gpu(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed")
    path = tmp_path / "identity.onnx"
    path.write_bytes(models.identity(models.FLOAT, ["N", 3]))
    done = run(EXAMPLES / "torch_gpu.py", path, check=False)
    if "finds no GPU" in done.stderr:
        pytest.skip("PyTorch finds no GPU here")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4


def why_slower(name, *arguments):
    """The lines of its table, split at two blanks or more, and all it said."""
    done = run(WHY_SLOWER / name, "--small", "--calls", "3", "--rounds", "2", *arguments)
    lines = [re.split(r"\s{2,}", line) for line in done.stdout.splitlines()]
    titles = next(i for i, line in enumerate(lines) if line[0].startswith("ms a call"))
    rows = itertools.takewhile(lambda line: len(line) > 1, lines[titles + 1 :])
    return lines[titles], {name: list(map(float, times)) for name, *times in rows}, done.stdout


@pytest.mark.parametrize("where", ["cpu", "gpu"])
def test_why_slower(where):
    pytest.importorskip("onnx")
    if where == "gpu" and onrush.get_device() == "CPU":
        pytest.skip("skipped: no GPU")
    arguments = ["--cpu"] if where == "cpu" else []
    titles, rows, text = why_slower("baseline.py", *arguments)
    assert titles[1:] == ["naive", "true: numpy in and out", "true: all on the device"]
    assert all(len(times) == 3 and min(times) > 0 for times in rows.values())
    for engine in ("PyTorch", "onnxruntime", "Onrush"):
        assert (engine in rows) != (f"{engine} is left out: " in text)
    assert "Onrush" in rows
    titles, rows, text = why_slower("session_options.py", *arguments)
    assert titles[-1] == "gain" and rows["Onrush"][4] == pytest.approx(
        rows["Onrush"][2] / rows["Onrush"][3], rel=0.05, abs=0.02
    )
    assert "The default level is ORT_ENABLE_ALL already." in text
    titles, rows, text = why_slower("cuda_graph.py", *arguments)
    assert "Onrush's InferenceSession has no capture_graph" in text
    assert ("The CPU has no CUDA graphs" in text) == (where == "cpu")
    if where == "gpu" and "PyTorch" in rows:
        assert "PyTorch, graph" in rows


def test_identify_files():
    pytest.importorskip("magika")
    done = run("-m", "onrush.shim", EXAMPLES / "identify_files.py", EXAMPLES / "serve.py")
    assert "Python source" in done.stdout


def test_read_page():
    pytest.importorskip("rapidocr")
    done = run("-m", "onrush.shim", EXAMPLES / "read_page.py")
    assert "Region-based segmentation" in done.stdout


def test_notebook():
    """Each cell runs; the last value of the code cells is shown as a notebook would."""
    for package in ("rapidocr", "skimage"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    cells = json.loads((EXAMPLES / "plans_and_timings.ipynb").read_text())["cells"]
    names, shown = {"__name__": "__main__"}, []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        *statements, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(statements, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            shown.append(value._repr_html_() if hasattr(value, "_repr_html_") else value)
        else:
            exec(compile(ast.Module([last], []), "cell", "exec"), names)
    fresh, planned, plans, profile, timed = shown
    assert "No plan yet" in fresh and "Plan 0" in planned and "contraction" in planned
    assert plans == 1
    assert "5 runs" in profile and " ms</summary>" in timed
