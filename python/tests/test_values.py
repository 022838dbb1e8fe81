"""Every dtype and kind of value, in and out; and that results are nobody else's memory."""

import ctypes

import models
import numpy as np
import pytest
from models import BOOL, FLOAT, INT64, STRING, node, tensor
from onnx import TensorProto, helper

import onrush

ml_dtypes = pytest.importorskip("ml_dtypes")

NUMPY_DTYPES = {
    TensorProto.FLOAT: np.float32,
    TensorProto.UINT8: np.uint8,
    TensorProto.INT8: np.int8,
    TensorProto.UINT16: np.uint16,
    TensorProto.INT16: np.int16,
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
    TensorProto.BOOL: np.bool_,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.UINT32: np.uint32,
    TensorProto.UINT64: np.uint64,
    TensorProto.COMPLEX64: np.complex64,
    TensorProto.COMPLEX128: np.complex128,
}
EXTENDED_DTYPES = {
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
    TensorProto.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: ml_dtypes.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: ml_dtypes.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: ml_dtypes.float8_e5m2fnuz,
    TensorProto.FLOAT8E8M0: ml_dtypes.float8_e8m0fnu,
    TensorProto.FLOAT4E2M1: ml_dtypes.float4_e2m1fn,
    TensorProto.UINT4: ml_dtypes.uint4,
    TensorProto.INT4: ml_dtypes.int4,
}
for name in ("UINT2", "INT2"):
    if hasattr(TensorProto, name) and hasattr(ml_dtypes, name.lower()):
        EXTENDED_DTYPES[getattr(TensorProto, name)] = getattr(ml_dtypes, name.lower())


def identity(element, shape=None, device="cpu"):
    opset = {TensorProto.COMPLEX64: 20, TensorProto.COMPLEX128: 20}.get(
        element, 26 if element >= 25 else 25
    )
    return onrush.Session(models.identity(element, shape, opset), device=device)


@pytest.mark.parametrize("element", [*NUMPY_DTYPES, *EXTENDED_DTYPES])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (), (0, 4)])
def test_dtype(element, shape, device):
    dtype = (NUMPY_DTYPES | EXTENDED_DTYPES)[element]
    count = int(np.prod(shape))
    x = (
        np.resize([0, 1, 1, 0, 1, 2 if dtype not in (np.bool_,) else 1], count)
        .astype(dtype)
        .reshape(shape)
    )
    (y,) = identity(element, device=device)(x=x)
    assert y.dtype == x.dtype and y.shape == x.shape
    np.testing.assert_array_equal(y.astype(np.complex128), x.astype(np.complex128))


@pytest.mark.parametrize("element", [TensorProto.INT4, TensorProto.UINT4])
def test_four_bits(element):
    dtype = EXTENDED_DTYPES[element]
    low = -8 if element == TensorProto.INT4 else 0
    x = np.arange(low, low + 16).astype(dtype)
    (y,) = identity(element)(x=x)
    np.testing.assert_array_equal(y.astype(int), x.astype(int))
    raw = np.arange(low, low + 16).astype(np.int8)  # one element a byte, for want of a dtype
    np.testing.assert_array_equal(identity(element)(x=raw)[0].astype(int), raw)


@pytest.mark.parametrize("element", EXTENDED_DTYPES)
def test_raw_bits_without_ml_dtypes(element, monkeypatch):
    x = np.ones(3, EXTENDED_DTYPES[element])
    raw = x.view(np.uint16 if x.itemsize == 2 else np.uint8)
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    (y,) = identity(element)(x=raw)
    assert y.dtype.kind in "ui" and y.itemsize == raw.itemsize
    np.testing.assert_array_equal(y, raw)


def test_big_endian():
    (y,) = identity(FLOAT)(x=np.arange(4, dtype=">f4"))
    np.testing.assert_array_equal(y, [0, 1, 2, 3])


def test_unknown_dtype():
    with pytest.raises(RuntimeError, match="longdouble|float128"):
        identity(TensorProto.DOUBLE)(x=np.ones(2, np.longdouble))


@pytest.mark.parametrize(
    "text",
    [
        np.array(["a", "zwölf", "", "日本"]),
        np.array([["a"], ["b"]], object),
        np.array([b"bytes"]),
        np.array("scalar"),
        np.zeros((0, 2), "U1"),
        ["a", "list"],
    ],
)
def test_strings(text, device):
    (y,) = identity(STRING, device=device)(x=text)
    expected = (
        np.char.decode(text, "utf-8") if np.asarray(text).dtype.kind == "S" else np.asarray(text)
    )
    assert y.dtype == object and y.shape == expected.shape
    assert y.tolist() == expected.tolist()


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="needs numpy 2")
def test_string_dtype():
    text = np.array(["a", "long enough to be on the heap of numpy"], np.dtypes.StringDType())
    assert identity(STRING)(x=text)[0].tolist() == text.tolist()


def test_sequences(device):
    a, b = np.ones((2, 2), np.float32), np.zeros((3, 2), np.float32)
    at = onrush.Session(models.SEQUENCE_AT, device=device)
    np.testing.assert_array_equal(at(s=[a, b], i=np.array(1))[0], b)
    (made,) = onrush.Session(models.TO_SEQUENCE, device=device)(x=a[0])
    assert isinstance(made, list) and len(made) == 2
    values = onrush.InferenceSession(models.TO_SEQUENCE).run_with_ort_values(
        None, {"x": onrush.OrtValue.ortvalue_from_numpy(a[0])}
    )
    length = onrush.InferenceSession(models.SEQUENCE_LENGTH).run_with_ort_values(
        None, {"s": values[0]}
    )
    assert length[0].numpy() == 2


def test_optionals(device):
    has = onrush.Session(models.HAS_ELEMENT, device=device)
    assert has(o=np.ones(2, np.float32))[0].item() is True
    assert has(o=None)[0].item() is False
    assert has()[0].item() is False
    assert onrush.Session(models.EMPTY_OPTIONAL, device=device)() == [None]


def test_array_likes():
    session = onrush.Session(models.ADD)
    for x in ([[1.0, 2.0, 3.0]], ((1, 2, 3),), [np.arange(1, 4)]):
        np.testing.assert_array_equal(session(x=x, y=np.ones(3, np.float32))[0], [[2, 3, 4]])
    scalar = onrush.Session(models.identity(INT64, []))
    assert scalar(x=3)[0] == 3 and scalar(x=np.int64(4))[0] == 4
    assert onrush.Session(models.identity(BOOL, []))(x=True)[0]


class ByDLPack:
    """Something that is no array but has DLPack, like tensors of other libraries."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    session = onrush.Session(models.ADD)
    np.testing.assert_array_equal(session(x=ByDLPack(x), y=ByDLPack(x[0]))[0], x + x[0])
    value = onrush.OrtValue.from_dlpack(ByDLPack(x))
    assert value.data_ptr() == x.ctypes.data
    shared = np.from_dlpack(value)
    assert np.shares_memory(shared, x)


class OnDevice:
    """An array whose capsule says that it lies on a device of another type."""

    def __init__(self, array, device):
        self.array, self.device = array, device

    def __dlpack__(self, **kwargs):
        capsule = self.array.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        address = pointer(capsule, b"dltensor")  # of a DLTensor: data, then the device
        ctypes.c_int32.from_address(address + 8).value = self.device
        return capsule

    def __dlpack_device__(self):
        return (self.device, 0)


def test_dlpack_of_other_devices():
    x = np.arange(3, dtype=np.float32)
    session = onrush.Session(models.identity(FLOAT, [3]))
    for readable in (3, 13):  # pinned and managed memory
        np.testing.assert_array_equal(session(x=OnDevice(x, readable))[0], x)
    with pytest.raises(onrush.Error, match="input 'x': .*device of DLPack's type 8"):
        session(x=OnDevice(x, 8))


def test_jax():
    """Arrays of jax go in, and results become arrays of jax, without a copy."""
    jnp = pytest.importorskip("jax.numpy", reason="jax is not installed")
    x, y = jnp.arange(6, dtype=jnp.float32).reshape(2, 3), jnp.ones(3, jnp.float32)
    value = onrush.OrtValue.from_dlpack(x)
    assert value.data_ptr() == x.unsafe_buffer_pointer()
    (z,) = onrush.Session(models.ADD)(x, y)
    assert isinstance(z, np.ndarray)
    np.testing.assert_array_equal(z, x + 1)
    back = jnp.from_dlpack(onrush.OrtValue.ortvalue_from_numpy(z))
    np.testing.assert_array_equal(back, z)
    (h,) = onrush.Session(models.identity(TensorProto.BFLOAT16, [3]))(y.astype(jnp.bfloat16))
    np.testing.assert_array_equal(h, y.astype(jnp.bfloat16))


def test_inputs_are_not_copied():
    """A large input adds nothing to the memory in use, an input is not written to."""
    x = np.ones(1 << 20, np.float32)
    value = onrush.OrtValue.ortvalue_from_numpy(x)
    assert value.data_ptr() == x.ctypes.data
    assert onrush.OrtValue.ortvalue_from_numpy(x[::2]).data_ptr() != x.ctypes.data


RESHAPED = models.model(
    [node("Reshape", ["x", "s"], ["y"]), node("Identity", ["x"], ["z"])],
    [tensor("x", FLOAT, None)],
    [tensor("y", FLOAT, None), tensor("z", FLOAT, None)],
    [helper.make_tensor("s", INT64, [1], [-1])],
)
WEIGHT_OUT = models.model(
    [node("Identity", ["w"], ["z"])],
    [],
    [tensor("z", FLOAT, [3]), tensor("w", FLOAT, [3])],
    [helper.make_tensor("w", FLOAT, [3], [1, 2, 3])],
)
SHAPE_OUT = models.model(
    [node("Shape", ["x"], ["s"]), node("NonZero", ["x"], ["i"]), node("Identity", ["i"], ["j"])],
    [tensor("x", FLOAT, None)],
    [tensor("s", INT64, None), tensor("i", INT64, None), tensor("j", INT64, None)],
)


@pytest.mark.parametrize("model", [RESHAPED, WEIGHT_OUT, SHAPE_OUT, models.identity(FLOAT, None)])
def test_results_share_nothing(model, device):
    """Writing to a result changes no input, no weight, no other result and no later run."""
    session = onrush.Session(model, device=device)
    x = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    feed = {"x": x} if session.inputs else {}
    first = session(**feed)
    expected = [array.copy() for array in first]
    for i, array in enumerate(first):
        array[...] = 77
        for other, want in list(zip(first, expected))[i + 1 :]:
            np.testing.assert_array_equal(other, want)
    np.testing.assert_array_equal(x, np.arange(1, 7, dtype=np.float32).reshape(2, 3))
    for array, want in zip(session(**feed), expected):
        np.testing.assert_array_equal(array, want)


def test_results_outlive_the_session():
    x = np.ones((2, 3), np.float32)
    (z,) = onrush.Session(models.ADD)(x=x, y=x[0])
    np.testing.assert_array_equal(z, x + 1)
    assert z.flags.writeable and z.flags.c_contiguous


# --- outputs in the caller's memory


def bound_run(model, feed, name, buffer, device):
    options = onrush.SessionOptions()
    options.add_session_config_entry("onrush.device", device)
    session = onrush.InferenceSession(model, options)
    binding = session.io_binding()
    for key, array in feed.items():
        binding.bind_cpu_input(key, array)
    binding.bind_ortvalue_output(name, onrush.OrtValue.ortvalue_from_numpy(buffer))
    session.run_with_iobinding(binding)
    (value,) = binding.get_outputs()
    assert value.data_ptr() == buffer.ctypes.data
    return buffer


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_bound_output_of_a_kernel(device):
    y = np.ones(3, np.float32)
    z = bound_run(models.ADD, {"x": X, "y": y}, "z", np.empty_like(X), device)
    np.testing.assert_array_equal(z, X + 1)


def test_bound_output_that_is_an_input(device):
    y = bound_run(models.identity(FLOAT, None), {"x": X}, "y", np.empty_like(X), device)
    np.testing.assert_array_equal(y, X)


def test_bound_output_of_a_loop(device):
    feed = {"n": np.array(2), "x": np.ones(4, np.float32)}
    y = bound_run(models.LOOP, feed, "y", np.empty(4, np.float32), device)
    np.testing.assert_allclose(y, np.sin(np.sin(feed["x"])), rtol=1e-6)


def test_bound_output_in_the_memory_of_an_input(device):
    x = X.copy()
    z = bound_run(models.ADD, {"x": x, "y": np.ones(3, np.float32)}, "z", x, device)
    np.testing.assert_array_equal(z, X + 1)


@pytest.mark.parametrize("buffer", [np.empty((3, 2), np.float32), np.empty((2, 3))])
@pytest.mark.parametrize("model", [models.identity(FLOAT, None), models.LOOP], ids=["x", "loop"])
def test_bound_output_that_does_not_fit(model, buffer, device):
    loop = model is models.LOOP
    feed = {"n": np.array(2), "x": np.ones(4, np.float32)} if loop else {"x": X}
    with pytest.raises(RuntimeError, match="the memory given for output 'y' must be"):
        bound_run(model, feed, "y", buffer, device)
