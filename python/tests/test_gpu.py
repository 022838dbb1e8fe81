"""Sessions on a GPU: where values lie, who waits for whom, and that memory comes back."""

import asyncio
import gc
import signal
import threading
import time
import warnings
import weakref

import models
import numpy as np
import pytest
from test_processes import (
    LONG,
    exit_while_threads_make_runs,
    exit_with_live_sessions,
    in_child,
    signalled,
)

import onrush
import onrush.ort as ort

needs_gpu = pytest.mark.skipif(
    ort.get_available_providers()[0] != "CUDAExecutionProvider", reason="skipped: no GPU"
)

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
X, Y = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)
FEED = {"x": X, "y": Y}


def there(array):
    return ort.OrtValue.ortvalue_from_numpy(array, "cuda", 0)


class ByDLPack:
    """An array of another library on the GPU."""

    def __init__(self, value):
        self.value, self.streams = value, []

    def __dlpack__(self, *, stream=None):
        self.streams.append(stream)
        return self.value.__dlpack__(stream=stream)

    def __dlpack_device__(self):
        return self.value.__dlpack_device__()


class ByInterface:
    def __init__(self, value):
        self.value = value
        self.__cuda_array_interface__ = value.__cuda_array_interface__


@pytest.fixture
def session():
    return ort.InferenceSession(models.ADD, providers=[CUDA])


# --- without a GPU


@pytest.fixture
def no_gpu():
    if ort.get_available_providers() != [CPU]:
        pytest.skip("skipped: there is a GPU")


def test_a_fallback_says_why(no_gpu):
    with pytest.warns(UserWarning, match="CUDA cannot be used: there is no CUDA driver") as caught:
        session = ort.InferenceSession(models.ADD, providers=[CUDA, CPU])
    assert len(caught) == 1 and caught[0].filename == __file__
    assert "\n" not in str(caught[0].message)
    assert session.get_providers() == [CPU] and ort.get_device() == "CPU"
    assert [device.ep_name for device in ort.get_ep_devices()] == [CPU]


def test_no_fallback(no_gpu):
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    with pytest.warns(UserWarning), pytest.raises(ort.errors.EPFail, match="no CUDA driver"):
        ort.InferenceSession(models.ADD, options, providers=[CUDA, CPU])
    ort.InferenceSession(models.ADD, options, providers=[CPU])


@pytest.mark.parametrize(
    "call",
    [
        lambda: there(X),
        lambda: ort.OrtValue.ortvalue_from_shape_and_type([2], np.float32, "cuda"),
        lambda: ort.InferenceSession(models.ADD).io_binding().bind_output("z", "cuda"),
        lambda: onrush.Session(models.ADD, device="cuda"),
    ],
)
def test_no_gpu_is_an_error(no_gpu, call):
    with pytest.raises(RuntimeError, match="CUDA driver|CUDA is not available"):
        call()


# --- providers


@needs_gpu
def test_cuda_is_used():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session = ort.InferenceSession(models.ADD, providers=[CUDA, CPU])
    assert session.get_providers() == [CUDA, CPU] and ort.get_device() == "GPU"
    np.testing.assert_array_equal(session.run(None, FEED)[0], X + 1)
    assert session.get_input_memory_infos()[0].name == "Cuda"
    assert session.get_input_epdevices()[0].ep_name == CUDA
    assert ort.InferenceSession(models.ADD).get_providers() == [CPU]
    assert ort.InferenceSession(models.ADD, providers=[CPU, CUDA]).get_input_memory_infos()[0][
        0
    ] == ("Cpu")


@needs_gpu
def test_options_of_cuda(caplog):
    caplog.set_level("INFO", "onrush")
    given = {"device_id": 0, "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": False}
    options = ort.InferenceSession(models.ADD, providers=[(CUDA, given)]).get_provider_options()
    assert options[CUDA]["device_id"] == "0" and options[CUDA]["use_tf32"] == "False"
    assert options[CUDA]["gpu_mem_limit"] == str(2**64 - 1)
    assert any("cudnn_conv_algo_search" in record.message for record in caplog.records)
    for wrong in ({"device_id": 99}, {"device_id": "first"}):
        with pytest.raises(ort.errors.EPFail):
            ort.InferenceSession(models.ADD, providers=[(CUDA, wrong)])


@needs_gpu
def test_use_tf32():
    """Without it, factors of products are not rounded."""
    x = np.full((64, 64), 1 + 2**-12, np.float32)
    off = ort.InferenceSession(models.MATMUL, providers=[(CUDA, {"use_tf32": 0})])
    on = ort.InferenceSession(models.MATMUL, providers=[(CUDA, {"use_tf32": 1})])
    exact = x.astype(np.float64) @ x
    errors = [np.abs(s.run(None, {"x": x, "y": x})[0] - exact).max() for s in (off, on)]
    assert errors[0] < 1e-4 < errors[1]


def test_tuning_is_for_gpus():
    options = ort.SessionOptions()
    options.add_session_config_entry("onrush.tune", "1")
    for load in (
        lambda: ort.InferenceSession(models.MATMUL, options, providers=["CPUExecutionProvider"]),
        lambda: onrush.Session(models.MATMUL, tune=True),
    ):
        with pytest.raises((ort.errors.OrtError, onrush.Error), match="tuning is for GPUs"):
            load()


@needs_gpu
def test_tuning(tmp_path, monkeypatch):
    """Results are the same, and are computed in the way that was found, from then on."""
    monkeypatch.setenv("ONRUSH_CACHE", str(tmp_path))
    x = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    feed = {"x": x, "y": x}
    plain = ort.InferenceSession(models.MATMUL, providers=[CUDA]).run(None, feed)[0]
    assert not list(tmp_path.glob("*.tuning"))
    tuned = ort.InferenceSession(
        models.MATMUL, providers=[(CUDA, {"tunable_op_tuning_enable": "1"})]
    ).run(None, feed)[0]
    assert len(list(tmp_path.glob("*.tuning"))) == 1
    later = onrush.Session(models.MATMUL, device="cuda")(**feed)[0]
    np.testing.assert_allclose(tuned, plain, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(later, tuned, rtol=1e-2, atol=1e-2)


@needs_gpu
def test_memory_limit():
    x = np.zeros((1 << 20, 3), np.float32)
    session = ort.InferenceSession(models.ADD, providers=[(CUDA, {"gpu_mem_limit": 1 << 20})])
    with pytest.raises(ort.errors.OrtError, match="limit"):
        session.run(None, {"x": x, "y": Y})
    np.testing.assert_array_equal(session.run(None, FEED)[0], X + 1)


# --- values


@needs_gpu
def test_values_on_the_gpu():
    value = there(X)
    assert value.device_name() == "cuda" and value.__dlpack_device__() == (2, 0)
    assert value.shape() == [2, 3] and value.tensor_size_in_bytes() == X.nbytes
    np.testing.assert_array_equal(value.numpy(), X)
    np.testing.assert_array_equal(np.asarray(value), X)
    address = value.data_ptr()
    value.update_inplace(X * 2)
    value.update_inplace(there(X * 3))
    assert value.data_ptr() == address
    np.testing.assert_array_equal(value.numpy(), X * 3)
    empty = ort.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32, "cuda", 0)
    ort.copy_tensors([value], [empty])
    np.testing.assert_array_equal(empty.numpy(), X * 3)
    on_host = ort.OrtValue.ortvalue_from_numpy(np.zeros_like(X))
    on_host.update_inplace(value)
    np.testing.assert_array_equal(on_host.numpy(), X * 3)
    with pytest.raises(AttributeError):
        on_host.__cuda_array_interface__  # noqa: B018
    with pytest.raises(RuntimeError, match="cannot be updated"):
        value.update_inplace(X[0])


@needs_gpu
@pytest.mark.parametrize("exchange", [ByDLPack, ByInterface])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_arrays_of_others_stay_where_they_are(exchange, device):
    given = exchange(there(X))
    (z,) = onrush.Session(models.ADD, device=device)(x=given, y=Y)
    assert isinstance(z, ort.OrtValue) and z.device_name() == "cuda"
    np.testing.assert_array_equal(z.numpy(), X + 1)
    assert z.__cuda_array_interface__["data"][0] == z.data_ptr()
    shared = ort.OrtValue.from_dlpack(z)
    assert shared.data_ptr() == z.data_ptr()
    if exchange is ByDLPack:
        assert given.streams == [1]  # the default stream, which runs come after


@needs_gpu
def test_strided_arrays_of_others():
    value = there(X)
    given = ByInterface(value)
    given.__cuda_array_interface__ |= {"shape": (3, 2), "strides": (4, 12)}
    with pytest.raises(onrush.Error, match="dense"):
        onrush.Session(models.identity(models.FLOAT, None), device="cuda")(x=given)
    given.__cuda_array_interface__ |= {"shape": (3, 2), "strides": (8, 4)}
    (y,) = onrush.Session(models.identity(models.FLOAT, None), device="cuda")(x=given)
    np.testing.assert_array_equal(y.numpy(), X.reshape(3, 2))


@needs_gpu
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_ort_values_give_arrays(device):
    """As with onnxruntime: results are on the host unless they are bound."""
    session = ort.InferenceSession(models.ADD, providers=[CUDA if device == "cuda" else CPU])
    (z,) = session.run(None, {"x": there(X), "y": there(Y)})
    np.testing.assert_array_equal(z, X + 1)
    (z,) = session.run_with_ort_values(None, {"x": there(X), "y": there(Y)})
    assert z.device_name() == "cpu"


@needs_gpu
def test_elements_that_are_needed_on_the_host():
    """Sizes, conditions, loops: values on the GPU do as well as others."""
    reshape = models.model(
        [models.node("Reshape", ["x", "s"], ["y"])],
        [models.tensor("x", models.FLOAT, None), models.tensor("s", models.INT64, [None])],
        [models.tensor("y", models.FLOAT, None)],
    )
    session = onrush.Session(reshape, device="cuda")
    for shape in ([3, 2], [6], [1, 6], [2, 3]):
        (y,) = session(x=ByDLPack(there(X)), s=ByDLPack(there(np.array(shape))))
        assert y.shape() == shape
        np.testing.assert_array_equal(y.numpy(), X.reshape(shape))
    loop = onrush.Session(models.LOOP, device="cuda")
    x = np.ones(4, np.float32)
    (y,) = loop(n=ByDLPack(there(np.array(2))), x=ByDLPack(there(x)))
    np.testing.assert_allclose(y.numpy(), np.sin(np.sin(x)), rtol=1e-5)
    (s,) = onrush.Session(models.TO_SEQUENCE, device="cuda")(x=ByDLPack(there(x[:2])))
    np.testing.assert_array_equal(s, [x[:2], x[:2]])


@needs_gpu
def test_values_on_the_host_of_several_sizes(session):
    """Kernels read and write small ones where they lie, others have copies on the device."""
    for rows in (1, 5, 341, 342, 100000, 5, 342):
        results = []
        for step in range(4):
            x = np.full((rows, 3), step, np.float32)
            results.append(session.run(None, {"x": x, "y": Y + step})[0])
        for step, result in enumerate(results):
            assert (result == 2 * step + 1).all()


@needs_gpu
def test_results_share_nothing():
    session = onrush.Session(models.identity(models.FLOAT, None), device="cuda")
    value = there(X)
    (y,) = session(x=ByDLPack(value))
    assert y.data_ptr() != value.data_ptr()
    (z,) = session(x=ByDLPack(value))
    assert z.data_ptr() != y.data_ptr()
    del session
    np.testing.assert_array_equal(y.numpy(), X)


# --- io binding


@needs_gpu
def test_bound_memory(session):
    x, z = there(X), there(np.zeros_like(X))
    binding = session.io_binding()
    binding.bind_input("x", "cuda", 0, np.float32, [2, 3], x.data_ptr())
    binding.bind_cpu_input("y", Y)
    binding.bind_output("z", "cuda", 0, np.float32, [2, 3], z.data_ptr())
    for step in range(4):
        x.update_inplace(X + step)
        binding.synchronize_inputs()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        np.testing.assert_array_equal(z.numpy(), X + step + 1)
    (value,) = binding.get_outputs()
    assert value.data_ptr() == z.data_ptr() and value.device_name() == "cuda"
    (copied,) = binding.copy_outputs_to_cpu()
    np.testing.assert_array_equal(copied, X + 4)


@needs_gpu
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_bound_output_without_memory(device):
    session = ort.InferenceSession(models.ADD, providers=[CUDA if device == "cuda" else CPU])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", there(X))
    binding.bind_ortvalue_input("y", there(Y))
    for where in ("cuda", "cpu", "cuda"):
        binding.bind_output("z", where)
        session.run_with_iobinding(binding)
        (value,) = binding.get_outputs()
        assert value.device_name() == where
        np.testing.assert_array_equal(value.numpy(), X + 1)


@needs_gpu
def test_each_output_goes_where_it_is_bound():
    two = models.model(
        [models.node("Neg", ["x"], ["a"]), models.node("Abs", ["a"], ["b"])],
        [models.tensor("x", models.FLOAT, [3])],
        [models.tensor("a", models.FLOAT, [3]), models.tensor("b", models.FLOAT, [3])],
    )
    session = ort.InferenceSession(two, providers=[CUDA])
    binding = session.io_binding()
    binding.bind_cpu_input("x", X[1])
    binding.bind_output("a", "cpu")
    binding.bind_output("b", "cuda")
    session.run_with_iobinding(binding)
    a, b = binding.get_outputs()
    assert (a.device_name(), b.device_name()) == ("cpu", "cuda")
    np.testing.assert_array_equal(a.numpy(), -X[1])
    np.testing.assert_array_equal(b.numpy(), X[1])


@needs_gpu
def test_bound_output_that_does_not_fit(session):
    binding = session.io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_cpu_input("y", Y)
    binding.bind_ortvalue_output("z", there(X.reshape(3, 2)))
    with pytest.raises(RuntimeError, match="the memory given for output 'z' must be"):
        session.run_with_iobinding(binding)


# --- threads and memory


@needs_gpu
def test_threads_share_a_session():
    session = onrush.Session(models.ADD, device="cuda")
    wrong = []

    def work(number):
        x = np.full((number + 1, 3), number, np.float32)
        for _ in range(100):
            (z,) = session(x=x, y=Y)
            (w,) = session(x=ByDLPack(there(x)), y=Y)
            if not (np.array_equal(z, x + 1) and np.array_equal(w.numpy(), x + 1)):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.fixture
def gpu_bytes():
    """A function for the bytes in use on the GPU, by all processes."""
    torch = pytest.importorskip("torch", reason="torch, which tells what memory is in use")
    return lambda: (lambda free, total: total - free)(*torch.cuda.mem_get_info())


@needs_gpu
def test_runs_do_not_leak(gpu_bytes):
    session = onrush.Session(models.ADD, device="cuda")
    x = ByDLPack(there(np.ones((1000, 3), np.float32)))

    def runs(count):
        for _ in range(count):
            session(x=x, y=Y)
            session(**FEED)

    runs(100)
    before = gpu_bytes()
    runs(5000)
    assert gpu_bytes() - before <= 2 << 20


@needs_gpu
def test_sessions_do_not_leak(gpu_bytes):
    weights = np.ones((512, 512), np.float32)
    model = models.model(
        [models.node("MatMul", ["x", "w"], ["y"])],
        [models.tensor("x", models.FLOAT, ["n", 512])],
        [models.tensor("y", models.FLOAT, ["n", 512])],
        [models.numpy_helper.from_array(weights, "w")],
    )

    def sessions(count):
        for _ in range(count):
            onrush.Session(model, device="cuda")(x=ByDLPack(there(weights)))
        gc.collect()

    sessions(3)
    before = gpu_bytes()
    sessions(30)
    assert gpu_bytes() - before <= 4 << 20


# --- processes


@needs_gpu
def test_fork_after_use(session):
    """In the child there is a clear error, never a hang, and the CPU can be used."""
    session.run(None, FEED)
    value = there(X)
    large = session.run(None, {"x": np.zeros((1 << 16, 3), np.float32), "y": Y})[0]

    def child():
        for call in (
            lambda: session.run(None, FEED),
            lambda: session.run(None, {"x": value, "y": Y}),
            lambda: onrush.Session(models.ADD, device="cuda"),
            lambda: there(X),
            value.numpy,
        ):
            with pytest.raises(Exception, match="fork"):
                call()
        with pytest.warns(UserWarning, match="fork"):
            on_cpu = ort.InferenceSession(models.ADD, providers=[CUDA, CPU])
        np.testing.assert_array_equal(on_cpu.run(None, FEED)[0], X + 1)
        assert (large == 1).all()

    assert in_child(child) == 0
    np.testing.assert_array_equal(session.run(None, FEED)[0], X + 1)


@needs_gpu
def test_asyncio():
    """Runs at once, and one that is cancelled."""
    session, loop = (onrush.Session(model, device="cuda") for model in (models.ADD, models.LOOP))

    async def main():
        feeds = [{"x": np.full((n + 1, 3), n, np.float32), "y": Y} for n in range(16)]
        results = await asyncio.gather(*(session.run_async(feed) for feed in feeds))
        for feed, result in zip(feeds, results):
            np.testing.assert_array_equal(result["z"], feed["x"] + 1)
        task = asyncio.create_task(loop.run_async(LONG))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    begin = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - begin < 20


@needs_gpu
def test_keyboard_interrupt_stops_a_run():
    session = onrush.Session(models.LOOP, device="cuda")
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), signalled(signal.SIGINT):
        session.run(LONG)
    assert time.monotonic() - begin < 20
    np.testing.assert_allclose(session(n=np.array(1), x=LONG["x"])[0], np.sin(LONG["x"]), 1e-5)


@needs_gpu
def test_what_a_child_drops_is_the_parents(session):
    """Sessions, values and results of the parent are dropped in the child and at its exit."""
    typed = onrush.Session(models.ADD, device="cuda")
    kept = [session, typed, there(X), *session.run(None, FEED), *typed(x=ByDLPack(there(X)), y=Y)]
    del typed
    values = weakref.ref(kept[2])

    def child():
        kept.clear()
        gc.collect()
        assert values() is None

    assert in_child(child) == 0
    np.testing.assert_array_equal(session.run(None, FEED)[0], X + 1)


@needs_gpu
@pytest.mark.parametrize("case", [exit_with_live_sessions, exit_while_threads_make_runs])
def test_exit(case):
    case("cuda")


# --- torch


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("skipped: no GPU")
    return torch


@needs_gpu
def test_torch_tensors(torch):
    x = torch.randn(64, 3, device="cuda")
    y = torch.randn(3, device="cuda")
    session = onrush.Session(models.ADD, device="cuda")
    for _ in range(3):
        z = torch.from_dlpack(session(x, y)[0])
        assert z.device == x.device and torch.equal(z, x + y)
    transposed = torch.randn(3, 64, device="cuda").T
    assert torch.equal(torch.from_dlpack(session(transposed, y)[0]), transposed + y)
    assert torch.equal(torch.from_dlpack(session(x.cpu().pin_memory(), y)[0]), x + y)
    with pytest.raises(onrush.Error, match="input 'x'.*require"):
        session(x.requires_grad_(), y)


@needs_gpu
def test_torch_streams(torch):
    """A run waits for what the current stream has yet to write, whichever it is, and memory that
    a stream still reads is not given to a later run."""
    session = onrush.Session(models.ADD, device="cuda")
    y = torch.zeros(3, device="cuda")
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        for step in range(20):
            torch.cuda._sleep(2_000_000)
            x = torch.full((1 << 18, 3), float(step), device="cuda")
            z = torch.from_dlpack(session(x, y)[0])
            assert z.eq(step).all(), step
            torch.cuda._sleep(2_000_000)
            kept = z.clone()  # to come
            del z
            session(torch.full_like(x, -1.0), y)
            assert kept.eq(step).all(), step


@needs_gpu
@pytest.mark.parametrize("waits", [True, False])
def test_user_compute_stream(torch, waits):
    """Everything is in the order of the caller's stream, whoever waits."""
    stream = torch.cuda.Stream()
    options = {"user_compute_stream": stream.cuda_stream}
    session = ort.InferenceSession(models.ADD, providers=[(CUDA, options)])
    assert session.get_provider_options()[CUDA]["has_user_compute_stream"] == "1"
    x, y, z = (torch.zeros(shape, device="cuda") for shape in ((1 << 18, 3), (3,), (1 << 18, 3)))
    torch.cuda.synchronize()
    binding = session.io_binding()
    for name, tensor in (("x", x), ("y", y)):
        binding.bind_input(name, "cuda", 0, np.float32, list(tensor.shape), tensor.data_ptr())
    binding.bind_output("z", "cuda", 0, np.float32, list(z.shape), z.data_ptr())
    run = ort.RunOptions()
    if not waits:
        run.add_run_config_entry("disable_synchronize_execution_providers", "1")
    sums = []
    with torch.cuda.stream(stream):
        for step in range(10):
            torch.cuda._sleep(2_000_000)
            x.fill_(step)
            session.run_with_iobinding(binding, run)
            assert waits <= stream.query()
            sums.append(z.sum())
        (w,) = session.run(None, {"x": x, "y": y})
        assert torch.from_dlpack(w).eq(9).all()
    assert [value.item() for value in sums] == [step * z.numel() for step in range(10)]


@needs_gpu
def test_torch_modules(torch):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed; torch exports with it")
    module = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    module = module.cuda().eval()
    x = torch.randn(8, 16, device="cuda")
    compiled = onrush.compile(module, x, precision="fp32")
    with torch.no_grad():
        expected = module(x)
        backend = torch.compile(module, backend="onrush", options={"precision": "fp32"})
        for result in (compiled(x), backend(x)):
            assert result.device == x.device
            torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
