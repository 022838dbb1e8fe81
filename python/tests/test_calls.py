"""The same calls on onnxruntime and on Onrush: results, their types and exceptions are compared."""

import inspect
import pathlib
import threading
import warnings

import models
import numpy as np
import onnx
import onnxruntime
import pytest

import onrush.ort

X, Y = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)
FEED = {"x": X, "y": Y}
READ_ONLY = X.copy()
READ_ONLY.flags.writeable = False


class Ort:
    """One of the two modules, with what calls need."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return getattr(self.module, name)

    def session(self, model=models.ADD, *args, **kwargs):
        return self.module.InferenceSession(model, *args, **kwargs)

    def run(self, model, feed, outputs=None):
        return self.session(model).run(outputs, feed)

    def value(self, array):
        return self.module.OrtValue.ortvalue_from_numpy(array)


def add(**feed):
    return lambda o: o.run(models.ADD, {**FEED, **feed})


def bound(bind):
    """A run with io binding, where ``bind`` binds what is special about it."""

    def call(o):
        session = o.session()
        binding = session.io_binding()
        binding.bind_cpu_input("x", X)
        binding.bind_cpu_input("y", Y)
        result = bind(o, binding)
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu(), result

    return call


def bind_buffer(shape, dtype, onnx_type=None):
    def bind(o, binding):
        buffer = np.zeros(shape, dtype)
        element_type = onnx_type or dtype
        binding.bind_output("z", "cpu", 0, element_type, list(shape), buffer.ctypes.data)
        return buffer

    return bound(bind)


def bind_values(o, binding):
    target = o.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    binding.bind_ortvalue_input("x", o.value(X * 2))
    binding.bind_ortvalue_output("z", target)
    return target.data_type()


def async_run(outputs, feed):
    def call(o):
        done, got = threading.Event(), []

        def callback(results, user_data, error):
            got.extend([results, user_data, bool(error)])
            done.set()

        options = o.SessionOptions()
        options.intra_op_num_threads = 2
        session = o.session(models.ADD, options)
        session.run_async(outputs, feed, callback, "data")
        assert done.wait(30)
        return got

    return call


def terminated(o):
    options = o.RunOptions()
    options.terminate = True
    return o.session().run(None, FEED, options)


def overridden_dim(o):
    options = o.SessionOptions()
    options.add_free_dimension_override_by_name("N", 2)
    session = o.session(models.ADD, options)
    return [arg.shape for arg in session.get_inputs() + session.get_outputs()], session.run(
        None, FEED
    )


def profiled(o, tmp=None):
    options = o.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp / "profile")
    session = o.session(models.ADD, options)
    session.run(None, FEED)
    start = session.get_profiling_start_time_ns() > 0
    import json

    name = session.end_profiling()
    events = json.loads(pathlib.Path(name).read_text())
    keys = {"model_run", "session_initialization"}
    return start, [type(name), sorted({event["name"] for event in events} & keys)]


def set_option(name, value):
    def call(o):
        options = o.SessionOptions()
        setattr(options, name, value(o) if inspect.isfunction(value) else value)
        return getattr(options, name)

    return call


def sparse(make):
    def call(o):
        tensor = make(o.SparseTensor, o.OrtDevice.make("cpu", 0))
        value = o.OrtValue.ort_value_from_sparse_tensor(tensor)
        return (
            [tensor.values(), tensor.dense_shape(), tensor.data_type(), tensor.device_name()],
            [int(tensor.format()), value.is_sparse_tensor(), value.is_tensor(), value.has_value()],
            value.as_sparse_tensor().values(),
        )

    return call


def coo(indices):
    return lambda tensors, device: tensors.sparse_coo_from_numpy(
        [3, 3], np.array([1.5, 2.5], np.float32), np.array(indices, np.int64), device
    )


def csr(tensors, device):
    inner, outer = np.array([1, 2], np.int64), np.array([0, 1, 2, 2], np.int64)
    return tensors.sparse_csr_from_numpy(
        [3, 3], np.array([1.5, 2.5], np.float32), inner, outer, device
    )


def described(value):
    return (
        [value.shape(), value.data_type(), value.element_type(), value.tensor_size_in_bytes()],
        [value.device_name(), value.has_value(), value.is_tensor(), value.is_tensor_sequence()],
    )


def meta(o):
    found = o.session(models.DESCRIBED).get_modelmeta()
    names = (
        "producer_name graph_name domain description graph_description version custom_metadata_map"
    )
    return [getattr(found, name) for name in names.split()]


def arguments(model):
    def call(o):
        session = o.session(model)
        found = (
            session.get_inputs() + session.get_outputs() + session.get_overridable_initializers()
        )
        return [(arg.name, arg.type, arg.shape, str(arg)) for arg in found]

    return call


def from_dlpack(array):
    return lambda o: (
        described(o.OrtValue.from_dlpack(array)),
        np.from_dlpack(o.OrtValue.from_dlpack(array)),
        o.OrtValue.from_dlpack(array).__dlpack_device__(),
    )


def update(data):
    def call(o):
        array = np.zeros(3, np.float32)
        value = o.value(array)
        value.update_inplace(
            o.value(data) if isinstance(data, np.ndarray) and len(data) == 3 else data
        )
        return value.numpy(), array

    return call


def broken(harm):
    """Loads a model after ``harm``."""

    def call(o):
        model = onnx.load_from_string(models.ADD)
        harm(model)
        return o.session(model.SerializeToString())

    return call


def string_identity(array):
    return lambda o: o.run(models.identity(models.STRING, None), {"x": array})


CASES = {
    # --- run: what is asked for
    "run": add(),
    "run: no names": lambda o: o.run(models.ADD, FEED, []),
    "run: names": lambda o: o.run(models.ADD, FEED, ["z"]),
    "run: name twice": lambda o: o.run(models.ADD, FEED, ["z", "z"]),
    "run: tuple of names": lambda o: o.run(models.ADD, FEED, ("z",)),
    "run: unknown name": lambda o: o.run(models.ADD, FEED, ["w"]),
    "run: name is str": lambda o: o.run(models.ADD, FEED, "z"),
    "run: names are int": lambda o: o.run(models.ADD, FEED, [1]),
    "run: options": lambda o: o.session().run(None, FEED, o.RunOptions()),
    "run: options are int": lambda o: o.session().run(None, FEED, 3),
    "run: terminate": terminated,
    # --- run: inputs
    "input: missing": lambda o: o.run(models.ADD, {"x": X}),
    "input: unknown": add(q=X),
    "input: feed is None": lambda o: o.run(models.ADD, None),
    "input: feed is list": lambda o: o.run(models.ADD, [X, Y]),
    "input: name is int": lambda o: o.run(models.ADD, {1: X, **FEED}),
    "input: float64": add(x=X.astype(np.float64)),
    "input: int64": add(x=X.astype(np.int64)),
    "input: float16": add(x=X.astype(np.float16)),
    "input: bool": add(x=X.astype(bool)),
    "input: rank": add(x=X[0]),
    "input: scalar array": add(x=np.array(1, np.float32)),
    "input: dimension": add(x=np.ones((2, 4), np.float32)),
    "input: list": add(x=[[1.0, 2.0, 3.0]]),
    "input: list of arrays": add(x=[X]),
    "input: text": add(x="abc"),
    "input: objects": add(x=X.astype(object)),
    "input: array of text": add(x=X.astype(str)),
    "input: not contiguous": add(
        x=np.ones((3, 2), np.float32).T, y=np.arange(6, dtype=np.float32)[::2]
    ),
    "input: reversed": add(x=X[::-1, ::-1]),
    "input: read-only": add(x=READ_ONLY),
    "input: Fortran order": add(x=np.asfortranarray(X)),
    "input: misaligned": add(
        x=np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(2, 3)
    ),
    "input: no elements": add(x=np.ones((0, 3), np.float32)),
    "input: OrtValue": lambda o: o.run(models.ADD, {**FEED, "x": o.value(X)}),
    "input: datetimes": add(x=np.zeros((2, 3), "M8[s]")),
    "input: default left out": lambda o: o.run(models.DEFAULTED, {"x": Y}),
    "input: default given": lambda o: o.run(models.DEFAULTED, {"x": Y, "w": Y}),
    "input: default of other rank": lambda o: o.run(models.DEFAULTED, {"x": Y, "w": X}),
    "input: constant": lambda o: o.run(models.WEIGHTED, {"x": Y, "w": Y}),
    # --- kinds of values
    "text": string_identity(np.array(["a", "é", ""])),
    "text: objects": string_identity(np.array(["a", "b"], object)),
    "text: mixed objects": string_identity(np.array([1, "b", None, 2.5], object)),
    "text: list": string_identity(["a", "b"]),
    "text: scalar": string_identity(np.array("s")),
    "text: no elements": string_identity(np.zeros((0, 2), "U1")),
    "text: bad UTF-8": string_identity(np.array([b"a", b"\xff"])),
    "text: numbers": string_identity(X),
    "sequence out": lambda o: o.run(models.TO_SEQUENCE, {"x": Y[:2]}),
    "sequence in": lambda o: o.run(models.SEQUENCE_LENGTH, {"s": [X, Y]}),
    "sequence in, empty": lambda o: o.run(models.SEQUENCE_LENGTH, {"s": []}),
    "sequence in: dtype": lambda o: o.run(models.SEQUENCE_LENGTH, {"s": [X.astype(np.float64)]}),
    "sequence in: array": lambda o: o.run(models.SEQUENCE_LENGTH, {"s": X}),
    "sequence at": lambda o: o.run(models.SEQUENCE_AT, {"s": [X, Y], "i": np.array(1)}),
    "optional in": lambda o: o.run(models.HAS_ELEMENT, {"o": Y[:2]}),
    "optional in: None": lambda o: o.run(models.HAS_ELEMENT, {"o": None}),
    "optional in: left out": lambda o: o.run(models.HAS_ELEMENT, {}),
    "optional out": lambda o: o.run(models.TO_OPTIONAL, {"x": Y[:2]}),
    "optional out: None": lambda o: o.run(models.EMPTY_OPTIONAL, {}),
    # --- other ways to run
    "async": async_run(None, FEED),
    "async: dtype": async_run(None, {**FEED, "x": X.astype(np.float64)}),
    "async: unknown output": async_run(["q"], FEED),
    "async: missing input": async_run(None, {"x": X}),
    "values": lambda o: (
        o.session().run_with_ort_values(None, {"x": o.value(X), "y": o.value(Y)})[0].numpy()
    ),
    "values: dtype": lambda o: o.session().run_with_ort_values(
        ["z"], {"x": o.value(X.astype(np.float64)), "y": o.value(Y)}
    ),
    "values: array": lambda o: o.session().run_with_ort_values(None, FEED),
    "values: missing": lambda o: o.session().run_with_ort_values(None, {"x": o.value(X)}),
    "values: sequence": lambda o: [
        (v.data_type(), v.is_tensor(), v.is_tensor_sequence(), v.has_value(), v.element_type())
        for v in o.session(models.TO_SEQUENCE).run_with_ort_values(None, {"x": o.value(Y[:2])})
    ],
    "values: empty optional": lambda o: (
        o.session(models.EMPTY_OPTIONAL).run_with_ort_values(None, {})[0].has_value()
    ),
    "binding": bound(lambda o, binding: binding.bind_output("z")),
    "binding: buffer": bind_buffer((2, 3), np.float32),
    "binding: buffer, ONNX type": bind_buffer((2, 3), np.float32, 1),
    "binding: values": bound(bind_values),
    "binding: no output": bound(lambda o, binding: None),
    "binding: unknown output": bound(lambda o, binding: binding.bind_output("w")),
    "binding: unknown input": bound(lambda o, binding: binding.bind_cpu_input("q", X)),
    "binding: dtype": bound(
        lambda o, binding: (
            binding.bind_output("z"),
            binding.bind_cpu_input("y", Y.astype(np.float64)),
        )
    ),
    "binding: buffer of other shape": bind_buffer((3, 3), np.float32),
    "binding: buffer without type": bound(
        lambda o, binding: binding.bind_output("z", "cpu", 0, None, [2, 3], X.ctypes.data)
    ),
    "binding: unknown device": bound(lambda o, binding: binding.bind_output("z", "foo")),
    "binding: other session": lambda o: o.session().run_with_iobinding(o.session().io_binding()),
    "binding: before a run": lambda o: o.session().io_binding().copy_outputs_to_cpu(),
    "binding: array as value": lambda o: o.session().io_binding().bind_ortvalue_input("x", X),
    # --- what models say of themselves
    "metadata": meta,
    "arguments": arguments(models.ADD),
    "arguments: default": arguments(models.DEFAULTED),
    "arguments: sequence": arguments(models.TO_SEQUENCE),
    "arguments: unknown rank": arguments(models.MATMUL),
    "providers": lambda o: (o.session().get_providers(), o.session().get_provider_options()),
    "memory": lambda o: [info.device_id for info in o.session().get_input_memory_infos()],
    "tuning results": lambda o: o.session().get_tuning_results(),
    "assignment": lambda o: o.session().get_provider_graph_assignment_info(),
    # --- loading
    "load: no file": lambda o: o.session("/nonexistent.onnx"),
    "load: garbage": lambda o: o.session(b"garbage bytes here" * 10),
    "load: bytearray": lambda o: o.session(bytearray(models.ADD)),
    "load: None": lambda o: o.session(None),
    "load: path": lambda o: o.session(pathlib.Path("/nonexistent.onnx")),
    "load: unknown operator": lambda o: o.session(
        models.model(
            [models.node("Foo", ["x"], ["y"])],
            [models.tensor("x", models.FLOAT, [3])],
            [models.tensor("y", models.FLOAT, [3])],
        )
    ),
    "load: options": lambda o: o.session(models.ADD, 3),
    "load: folder": lambda o: o.session("/tmp"),
    "load: no bytes": lambda o: o.session(b""),
    "load: no graph": lambda o: o.session(b"xx"),
    "load: cut off": lambda o: o.session(models.ADD[:-5]),
    "load: no operator sets": broken(lambda m: m.ClearField("opset_import")),
    "load: operators of the future": broken(lambda m: setattr(m.opset_import[0], "version", 99)),
    "load: no IR version": broken(lambda m: m.ClearField("ir_version")),
    "load: IR of the future": broken(lambda m: setattr(m, "ir_version", 99)),
    "load: unknown domain": broken(lambda m: setattr(m.graph.node[0], "domain", "my.ops")),
    "load: dangling input": broken(lambda m: m.graph.node[0].input.__setitem__(0, "nowhere")),
    "load: output twice": broken(lambda m: m.graph.node.append(m.graph.node[0])),
    "load: no path": lambda o: o.session(""),
    "load: too many inputs": broken(lambda m: m.graph.node[0].input.append("x")),
    "load: too few inputs": broken(lambda m: m.graph.node[0].input.pop()),
    "load: two types": broken(
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", models.INT64)
    ),
    "load: other result": broken(
        lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", models.INT64)
    ),
    "load: unknown attribute": broken(lambda m: m.graph.node[0].attribute.add(name="axis", type=2)),
    "load: operator of later": broken(lambda m: setattr(m.graph.node[0], "op_type", "Swish")),
    "load: input twice": broken(lambda m: m.graph.input.append(m.graph.input[0])),
    # --- session options
    "option: threads": set_option("intra_op_num_threads", 2),
    "option: threads is str": set_option("intra_op_num_threads", "2"),
    "option: threads is float": set_option("intra_op_num_threads", 1.5),
    "option: level": set_option(
        "graph_optimization_level", lambda o: o.GraphOptimizationLevel.ORT_ENABLE_BASIC
    ),
    "option: level is int": set_option("graph_optimization_level", 1),
    "option: unknown": set_option("foo", 1),
    "option: prefix is None": set_option("profile_file_prefix", None),
    "option: entry": lambda o: (
        lambda s: (s.add_session_config_entry("k", "v"), s.get_session_config_entry("k"))
    )(o.SessionOptions()),
    "option: entry is int": lambda o: o.SessionOptions().add_session_config_entry("k", 1),
    "option: no entry": lambda o: o.SessionOptions().get_session_config_entry("k"),
    "option: empty key": lambda o: o.SessionOptions().add_session_config_entry("", "v"),
    "option: run entry": lambda o: (
        lambda s: (s.add_run_config_entry("k", "v"), s.get_run_config_entry("k"))
    )(o.RunOptions()),
    "option: no run entry": lambda o: o.RunOptions().get_run_config_entry("k"),
    "option: dimension": overridden_dim,
    "option: custom operators": lambda o: o.SessionOptions().register_custom_ops_library(
        "/nonexistent.so"
    ),
    "option: initializer is array": lambda o: o.SessionOptions().add_initializer("w", X),
    "profile off": lambda o: (
        o.session().end_profiling(),
        o.session().get_profiling_start_time_ns(),
    ),
    # --- OrtValue
    "value": lambda o: described(o.value(X)),
    "value: scalar": lambda o: described(o.value(np.array(3))),
    "value: no elements": lambda o: described(o.value(np.ones((2, 0), np.float16))),
    "value: Fortran order": lambda o: o.value(np.asfortranarray(X)).numpy(),
    "value: list": lambda o: o.value([1, 2]),
    "value: shares": lambda o: (lambda a: o.value(a).data_ptr() == a.ctypes.data)(X.copy()),
    "value: numpy shares": lambda o: (lambda v: v.numpy().ctypes.data == v.data_ptr())(o.value(X)),
    "value: asarray": lambda o: np.asarray(o.value(X)),
    "value: asarray, dtype": lambda o: np.asarray(o.value(X), np.float64),
    "value: by keyword": lambda o: o.OrtValue.ortvalue_from_numpy(numpy_obj=X),
    "value: constructor": lambda o: o.OrtValue(3),
    "value: new": lambda o: described(o.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)),
    "value: new, str": lambda o: described(
        o.OrtValue.ortvalue_from_shape_and_type([2, 3], "int64")
    ),
    "value: new, float": lambda o: described(
        o.OrtValue.ortvalue_from_shape_and_type([2, 3], float)
    ),
    "value: new, ONNX type": lambda o: described(
        o.OrtValue.ortvalue_from_shape_and_type([2, 3], 16)
    ),
    "value: new, int4": lambda o: described(o.OrtValue.ortvalue_from_shape_and_type([2, 3], 22)),
    "value: new, no type": lambda o: o.OrtValue.ortvalue_from_shape_and_type([2, 3], "foo"),
    "value: new, no device": lambda o: o.OrtValue.ortvalue_from_shape_and_type(
        [2], np.float32, "foo"
    ),
    "value: new, CUDA": lambda o: o.OrtValue.ortvalue_from_shape_and_type(
        [2], np.float32, "cuda", 0
    ),
    "value: bfloat16": lambda o: described(
        o.OrtValue.ortvalue_from_numpy_with_onnx_type(np.ones(3, np.uint16), 16)
    ),
    "value: other width": lambda o: o.OrtValue.ortvalue_from_numpy_with_onnx_type(
        np.ones(3, np.uint8), 16
    ),
    "value: update": update(np.arange(3, dtype=np.float32)),
    "value: update, size": update(np.zeros(2, np.float32)),
    "value: update, list": update([1, 2, 3]),
    "value: DLPack": from_dlpack(np.arange(4)),
    "value: DLPack bool": from_dlpack(np.ones(4, bool)),
    "value: DLPack of int": from_dlpack(3),
    "value: sequence as numpy": lambda o: (
        o.session(models.TO_SEQUENCE).run_with_ort_values(None, {"x": o.value(Y[:2])})[0].numpy()
    ),
    "value: shape of sequence": lambda o: (
        o.session(models.TO_SEQUENCE).run_with_ort_values(None, {"x": o.value(Y[:2])})[0].shape()
    ),
    # --- sparse tensors
    "sparse: flat": sparse(coo([1, 5])),
    "sparse: coordinates": sparse(coo([[0, 1], [1, 2]])),
    "sparse: CSR": sparse(csr),
    "sparse: too few": sparse(coo([1])),
    "sparse: COO view": lambda o: (
        coo([1, 5])(o.SparseTensor, o.OrtDevice.make("cpu", 0)).as_coo_view().indices()
    ),
    "sparse: CSR view of COO": lambda o: coo([1, 5])(
        o.SparseTensor, o.OrtDevice.make("cpu", 0)
    ).as_csrc_view(),
    "sparse: constructor": lambda o: o.SparseTensor(3),
    # --- devices and the rest
    "device": lambda o: (
        lambda d: [d.device_id(), d.device_type(), d.device_vendor_id(), d.device_mem_type()]
    )(o.OrtDevice.make("cuda", 1)),
    "device: unknown": lambda o: o.OrtDevice.make("foo", 0),
    "arena": lambda o: vars_of(o.OrtArenaCfg({"max_mem": 5})),
    "arena: unknown": lambda o: o.OrtArenaCfg({"foo": 1}),
    "severity": lambda o: o.set_default_logger_severity(3),
    "severity: out of range": lambda o: o.set_default_logger_severity(9),
    "seed": lambda o: o.set_seed(1),
    "device name": lambda o: o.get_device(),
    "version": lambda o: (o.get_version_string(), o.__version__),
    "collective": lambda o: o.has_collective_ops(),
    "preload": lambda o: o.preload_dlls(),
}


def vars_of(config):
    return {name: getattr(config, name) for name in dir(config) if not name.startswith("_")}


def outcome(call, module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(Ort(module))
        except Exception as error:
            return error


def simplified(value):
    """Types and contents in a form that compares."""
    if isinstance(value, Exception):
        return type(value).__name__
    if isinstance(value, np.ndarray):
        return "array", value.dtype.str, value.shape, value.tolist()
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [simplified(element) for element in value]
    if isinstance(value, dict):
        return "dict", {key: simplified(element) for key, element in value.items()}
    if type(value).__module__.split(".")[0] in ("onnxruntime", "onrush"):
        return type(value).__name__, str(value) if hasattr(type(value), "__members__") else ""
    return type(value).__name__, value


@pytest.mark.parametrize("label", CASES)
def test_same(label):
    ours, theirs = outcome(CASES[label], onrush.ort), outcome(CASES[label], onnxruntime)
    assert simplified(ours) == simplified(theirs), (ours, theirs)


def test_profile(tmp_path):
    ours, theirs = profiled(Ort(onrush.ort), tmp_path), profiled(Ort(onnxruntime), tmp_path)
    assert ours == theirs


def test_messages():
    """Messages name the place and have onnxruntime's form."""
    error = outcome(CASES["input: float64"], onrush.ort)
    assert str(error).startswith("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : input 'x'")
    assert str(outcome(CASES["input: missing"], onrush.ort)) == str(
        outcome(CASES["input: missing"], onnxruntime)
    )
    error = outcome(CASES["load: no file"], onrush.ort)
    assert str(error).startswith("[ONNXRuntimeError] : 3 : NO_SUCHFILE : ")


@pytest.mark.parametrize(
    "providers",
    [
        ["CPUExecutionProvider"],
        ["FooExecutionProvider", "CPUExecutionProvider"],
        ["CPUExecutionProvider", "CPUExecutionProvider"],
        ["CUDAExecutionProvider", "CPUExecutionProvider"],
        [("CPUExecutionProvider", {"a": 1})],
        [],
        None,
    ],
    ids=str,
)
def test_providers(providers):
    found = []
    for module in (onrush.ort, onnxruntime):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            session = module.InferenceSession(models.ADD, providers=providers)
        texts = [(w.category, str(w.message).split("Available")[0]) for w in caught]
        found.append((session.get_providers(), session.get_provider_options(), texts))
    ours, theirs = found
    theirs = (
        [name for name in theirs[0] if name != "AzureExecutionProvider"],
        theirs[1],
        theirs[2],
    )
    assert ours[0] == theirs[0] and ours[2] == theirs[2]
    assert ours[1] == {"CPUExecutionProvider": {}}


@pytest.mark.parametrize(
    "providers", [[3], {"CPUExecutionProvider"}, "CPUExecutionProvider"], ids=str
)
def test_malformed_providers(providers):
    """onnxruntime falls back to the CPU, loudly, and raises ValueError if told not to fall back."""
    for module in (onrush.ort, onnxruntime):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert module.InferenceSession(models.ADD, providers=providers).get_providers() == [
                "CPUExecutionProvider"
            ]
            if not isinstance(providers, str):
                with pytest.raises(ValueError):
                    module.InferenceSession(models.ADD, providers=providers, enable_fallback=0)


def test_only_cuda_is_an_error():
    with pytest.warns(UserWarning), pytest.raises(onrush.ort.errors.EPFail, match="no CUDA driver"):
        onrush.InferenceSession(models.ADD, providers=["CUDAExecutionProvider"])


def test_options_without_effect_are_noted_once(caplog):
    caplog.set_level("INFO", "onrush")
    for _ in range(2):
        onrush.SessionOptions().add_session_config_entry("some.key.of.a.test", "1")
    assert [record.message for record in caplog.records].count(
        "session config entry 'some.key.of.a.test' has no effect in Onrush"
    ) == 1


def test_initializers_are_replaced():
    options = onrush.SessionOptions()
    options.add_initializer("w", onrush.OrtValue.ortvalue_from_numpy(np.full(3, 7, np.float32)))
    session = onrush.InferenceSession(models.WEIGHTED, options)
    np.testing.assert_array_equal(session.run(None, {"x": Y})[0], [8, 8, 8])


def test_external_initializers(tmp_path):
    """Weights of a model in memory, whose file is elsewhere, are given as values."""
    model = onnx.load_from_string(models.WEIGHTED)
    onnx.external_data_helper.convert_model_to_external_data(
        model, location="weights", size_threshold=0
    )
    onnx.save(model, tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    options = onrush.SessionOptions()
    options.add_external_initializers(
        ["w"], [onrush.OrtValue.ortvalue_from_numpy(np.full(3, 7, np.float32))]
    )
    session = onrush.InferenceSession(content, options)
    np.testing.assert_array_equal(session.run(None, {"x": Y})[0], [8, 8, 8])
    with pytest.raises(Exception, match="weights"):
        onrush.InferenceSession(content)
    np.testing.assert_array_equal(
        onrush.InferenceSession(tmp_path / "model.onnx").run(None, {"x": Y})[0], [2, 3, 4]
    )
