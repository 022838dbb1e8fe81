"""PyTorch: tensors in and out, onrush.compile, torch.compile."""

import pathlib
import re

import models
import numpy as np
import pytest
from onnx import TensorProto

import onrush

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed; torch exports with it")

import onrush.torch  # noqa: E402

DTYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.float64: TensorProto.DOUBLE,
    torch.float16: TensorProto.FLOAT16,
    torch.bfloat16: TensorProto.BFLOAT16,
    torch.float8_e4m3fn: TensorProto.FLOAT8E4M3FN,
    torch.float8_e5m2: TensorProto.FLOAT8E5M2,
    torch.int8: TensorProto.INT8,
    torch.int16: TensorProto.INT16,
    torch.int32: TensorProto.INT32,
    torch.int64: TensorProto.INT64,
    torch.uint8: TensorProto.UINT8,
    torch.bool: TensorProto.BOOL,
    torch.complex64: TensorProto.COMPLEX64,
}


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


# --- tensors


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_go_in_and_out_without_copies(dtype):
    x = torch.tensor([[0, 1, 1], [0, 0, 1]]).to(dtype)
    value = onrush.OrtValue.from_dlpack(x)
    assert value.element_type() == DTYPES[dtype] and value.data_ptr() == x.data_ptr()
    back = torch.from_dlpack(value)
    assert back.dtype == dtype and back.data_ptr() == x.data_ptr()
    opset = 20 if dtype == torch.complex64 else 25
    session = onrush.InferenceSession(models.identity(DTYPES[dtype], None, opset))
    (y,) = session.run_with_ort_values(None, {"x": value})
    assert y.data_ptr() != x.data_ptr()
    assert torch.equal(torch.from_dlpack(y).to(torch.complex64), x.to(torch.complex64))
    (array,) = session.run(None, {"x": x})  # and into plain run
    assert torch.equal(torch.tensor(array.astype(np.complex64)), x.to(torch.complex64))


def test_strided_tensors():
    x = torch.arange(6, dtype=torch.float32).reshape(3, 2).T
    y = torch.ones(3)
    (z,) = onrush.Session(models.ADD)(x, y)
    np.testing.assert_array_equal(z, (x + y).numpy())


@pytest.mark.parametrize("kind", ["sparse", "meta"])
def test_tensors_without_memory_to_read(kind):
    x = torch.ones(2, 3).to_sparse() if kind == "sparse" else torch.ones(2, 3, device="meta")
    with pytest.raises(onrush.Error, match="input 'x': a <class 'torch.Tensor'> cannot be read"):
        onrush.Session(models.ADD)(x, torch.ones(3))


def test_bound_tensors():
    """Io binding on a tensor's memory: read anew and written in every run."""
    session = onrush.InferenceSession(models.ADD)
    x, y, z = torch.zeros(2, 3), torch.ones(3), torch.empty(2, 3)
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, np.float32, list(x.shape), x.data_ptr())
    binding.bind_ortvalue_input("y", onrush.OrtValue.from_dlpack(y))
    binding.bind_ortvalue_output("z", onrush.OrtValue.from_dlpack(z))
    for step in range(3):
        x.fill_(step)
        session.run_with_iobinding(binding)
        assert torch.equal(z, x + y)


# --- onrush.compile


class Structured(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)
        self.register_buffer("shift", torch.arange(3.0))

    def forward(self, x, *, scale=None, double=False):
        y = self.linear(x) + self.shift
        if scale is not None:
            y = y * scale
        if double:
            y = 2 * y
        return {"y": y, "pair": (x.sum(), None), "count": x.shape[0]}


@pytest.fixture(scope="module")
def structured():
    module = Structured().eval()
    example = {"scale": torch.tensor(2.0), "double": True}
    return module, onrush.compile(module, torch.randn(2, 4), example, threads=1)


@pytest.mark.parametrize("count", [2, 5, 1])
def test_structure_and_sizes(structured, count):
    module, compiled = structured
    x, scale = torch.randn(count, 4), torch.tensor(3.0)
    ours = compiled(x, double=True, scale=scale)
    theirs = module(x, scale=scale, double=True)
    assert_close(ours, theirs)
    assert type(ours["count"]) is int


def test_wrong_structure(structured):
    _, compiled = structured
    with pytest.raises(onrush.Error, match="structure of the example"):
        compiled(torch.randn(2, 4))
    with pytest.raises(onrush.Error, match=r"must have shape|inner dimensions"):
        compiled(torch.randn(2, 5), scale=torch.tensor(1.0), double=True)


def test_gradients_are_left_out(structured):
    _, compiled = structured
    x = torch.randn(2, 4, requires_grad=True)
    ours = compiled(x, scale=torch.tensor(1.0), double=True)["y"]
    assert not ours.requires_grad


def test_fixed_sizes():
    module = torch.nn.Softmax(-1)
    compiled = onrush.compile(module, torch.randn(2, 4), dynamic_shapes={"input": None})
    assert compiled.session.inputs[0].shape == (2, 4)
    x = torch.randn(2, 4)
    assert_close(compiled(x), module(x))


def test_network():
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 5),
    ).eval()
    compiled = onrush.compile(module, torch.randn(2, 3, 16, 16))
    for shape in ((2, 3, 16, 16), (3, 3, 20, 12)):
        x = torch.randn(shape)
        with torch.no_grad():
            assert_close(compiled(x), module(x))


def test_modules_that_change_themselves():
    with pytest.raises(onrush.Error, match=r"eval\(\)"):
        onrush.compile(torch.nn.BatchNorm1d(3).train(), torch.randn(4, 3))


# --- torch.compile


@pytest.fixture
def network():
    torch.compiler.reset()
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten()
    ).eval()


def test_torch_compile_finds_the_backend(network, tmp_path, monkeypatch):
    """By the entry point that an installed onrush declares."""
    project = (pathlib.Path(__file__).parents[2] / "pyproject.toml").read_text()
    target = re.search(r'torch_dynamo_backends"\]\nonrush = "([\w.:]+)"', project)[1]
    information = tmp_path / "declares_onrush-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[torch_dynamo_backends]\nonrush = {target}\n")
    monkeypatch.syspath_prepend(tmp_path)
    torch._dynamo.backends.registry._discover_entrypoint_backends.cache_clear()
    compiled = torch.compile(network, backend="onrush", options={"threads": 1})
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert_close(compiled(x), network(x))


def test_torch_compile_with_other_sizes_and_weights(network):
    compiled = torch.compile(network, backend=onrush.torch.backend)
    with torch.no_grad():
        for count in (1, 2, 3, 5):
            x = torch.randn(count, 3, 8, 8)
            assert_close(compiled(x), network(x))
        network[0].weight.mul_(2)
        assert_close(compiled(x), network(x))


def test_torch_compile_of_a_function():
    @torch.compile(backend=onrush.torch.backend)
    def attend(q, k, v):
        return torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v

    for length in (3, 4, 7):
        q, k, v = torch.randn(3, 2, length, 8)
        scores = torch.softmax(q @ k.mT / 8**0.5, -1)
        assert_close(attend(q, k, v), scores @ v)


def test_torch_compile_refuses_to_train(network):
    compiled = torch.compile(network, backend=onrush.torch.backend)
    with pytest.raises(Exception, match=r"torch.no_grad\(\)"):
        compiled(torch.randn(1, 3, 8, 8))
