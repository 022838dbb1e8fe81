"""onrush.Session."""

import asyncio
import pathlib
import sys

import models
import numpy as np
import pytest
from onnx import TensorProto, helper, load_from_string

import onrush

X, Y = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)


@pytest.fixture
def session(device):
    return onrush.Session(models.ADD, device=device)


def test_call(session):
    np.testing.assert_array_equal(session(x=X, y=Y)[0], X + 1)
    np.testing.assert_array_equal(session(X, Y)[0], X + 1)
    np.testing.assert_array_equal(session(X, y=Y)[0], X + 1)
    with pytest.raises(TypeError, match="takes 2 inputs, 3"):
        session(X, Y, Y)
    with pytest.raises(TypeError, match="'x' was given twice"):
        session(X, x=Y, y=Y)


def test_run(session):
    assert list(session.run({"x": X, "y": Y})) == ["z"]
    np.testing.assert_array_equal(session.run({"x": X, "y": Y}, ["z"])["z"], X + 1)
    np.testing.assert_array_equal(asyncio.run(session.run_async({"x": X, "y": Y}))["z"], X + 1)


def test_arguments(session):
    assert session.inputs == (
        onrush.Argument("x", "tensor(float)", ("N", 3)),
        onrush.Argument("y", "tensor(float)", (3,)),
    )
    assert [str(argument) for argument in session.outputs] == ["z: tensor(float)[N, 3]"]
    assert "x: tensor(float)[N, 3]" in repr(session)
    assert onrush.Session(models.MATMUL).inputs[0].shape is None
    assert onrush.Session(models.DESCRIBED).metadata == {"key": "value"}


@pytest.mark.parametrize(
    "feed, code, text",
    [
        ({"x": X}, "invalid argument", "'y'"),
        ({"x": X, "y": Y, "q": Y}, "invalid argument", "no input 'q'"),
        ({"x": X.astype(np.float64), "y": Y}, "invalid argument", "must have element type float"),
        ({"x": X[0], "y": Y}, "invalid argument", r"must have shape \[N,3\], not \[3\]"),
        ({"x": None, "y": Y}, "invalid argument", "'x' is None"),
    ],
)
def test_wrong_inputs(session, feed, code, text):
    with pytest.raises(onrush.Error, match=text) as caught:
        session.run(feed)
    assert caught.value.code == code


def test_wrong_models(tmp_path):
    with pytest.raises(onrush.Error, match="nonexistent.onnx") as caught:
        onrush.Session("/nonexistent.onnx")
    assert caught.value.code == "not found"
    with pytest.raises(onrush.Error) as caught:
        onrush.Session(b"garbage")
    assert caught.value.code == "invalid model"
    with pytest.raises(onrush.Error, match="unknown device 'abacus'"):
        onrush.Session(models.ADD, device="abacus")
    with pytest.raises(onrush.Error, match="unknown precision 'fp1'"):
        onrush.Session(models.ADD, precision="fp1")
    with pytest.raises(onrush.Error, match="fp16"):
        onrush.Session(models.ADD, precision="fp16")  # on the CPU
    unknown = models.model(
        [models.node("Foo", ["x"], ["y"], name="n")],
        [models.tensor("x", models.FLOAT, [1])],
        [models.tensor("y", models.FLOAT, [1])],
    )
    with pytest.raises(onrush.Error, match="node 'n'.*'Foo'"):
        onrush.Session(unknown)
    for wrong in (None, 7, load_from_string(models.ADD)):
        with pytest.raises(TypeError, match="SerializeToString"):
            onrush.Session(wrong)
    path = pathlib.Path(tmp_path / "add.onnx")
    path.write_bytes(models.ADD)
    np.testing.assert_array_equal(onrush.Session(path)(x=X, y=Y)[0], X + 1)


def test_wrong_arguments(session):
    with pytest.raises(onrush.Error, match="-1 threads"):
        onrush.Session(models.ADD, threads=-1)
    with pytest.raises(TypeError, match="integer"):
        onrush.Session(models.ADD, threads="4")
    for feed in ([X, Y], None):
        with pytest.raises(AttributeError, match="inputs are a dict"):
            session.run(feed)


def test_compile_without_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "onrush.torch", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'onrush\[torch\]'"):
        onrush.compile


@pytest.mark.parametrize("precision", ["standard", "fp32", "tf32", "bf16"])
def test_precision(precision, tmp_path):
    x = np.linspace(1, 2, 64, dtype=np.float32).reshape(4, 16)
    w = np.ones((16, 2), np.float32)
    try:
        session = onrush.Session(models.MATMUL, precision=precision, cache_folder=tmp_path)
        (z,) = session(x, w)
    except onrush.Error as error:
        assert precision == "bf16" and error.code == "unsupported"
        pytest.skip("the processor has no products of bfloat16")
    error = np.abs(z - x @ w).max() / np.abs(z).max()
    assert 1e-6 < error < 1e-2 if precision == "bf16" else error < 1e-6
    assert list(tmp_path.iterdir()) == []  # the CPU keeps nothing there


def test_errors_can_be_pickled():
    import pickle

    error = pickle.loads(pickle.dumps(onrush.Error("not found", "no file")))
    assert (error.code, str(error)) == ("not found", "no file")


@pytest.mark.parametrize("kind", ["Loop", "Scan"])
def test_loops_without_iterations(kind, device):
    """What they collect has no elements, and the type that an iteration would give it."""
    tensor, undeclared = models.tensor, helper.make_empty_tensor_value_info
    carried = [tensor("i", models.INT64, []), tensor("go", models.BOOL, [])]
    carried += [undeclared("state")]
    nodes = [
        models.node("Exp", ["state"], ["next"]),
        models.node("Cast", ["next"], ["half"], to=10),
    ]
    if kind == "Loop":
        nodes += [models.node("Identity", ["go"], ["on"])]
        outputs = [undeclared(name) for name in ("on", "next", "half")]
        body = helper.make_graph(nodes, "body", carried, outputs)
        loop = models.node("Loop", ["n", "", "s"], ["y", "z"], body=body)
        inputs = [tensor("n", models.INT64, []), tensor("s", models.FLOAT, [4])]
        feed = {"n": np.array(0), "s": np.ones(4, np.float32)}
    else:
        nodes[0] = models.node("Add", ["state", "slice"], ["next"])
        outputs = [undeclared("next"), undeclared("half")]
        body = helper.make_graph(nodes, "body", [undeclared("state"), undeclared("slice")], outputs)
        loop = models.node("Scan", ["s", "x"], ["y", "z"], body=body, num_scan_inputs=1)
        inputs = [tensor("s", models.FLOAT, [4]), tensor("x", models.FLOAT, [None, 4])]
        feed = {"s": np.ones(4, np.float32), "x": np.ones((0, 4), np.float32)}
    results = [tensor("y", models.FLOAT, [4]), tensor("z", TensorProto.FLOAT16, None)]
    y, z = onrush.Session(models.model([loop], inputs, results), device=device)(**feed)
    np.testing.assert_array_equal(y, np.ones(4))
    assert z.dtype == np.float16 and z.shape == (0, 4)
