"""Threads, forks, cancelled runs, memory."""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor

import models
import numpy as np
import pytest

import onrush

X, Y = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)
LONG = {"n": np.array(1 << 40), "x": np.ones(4, np.float32)}


def test_threads_share_a_session():
    session = onrush.InferenceSession(models.MATMUL)

    def work(seed):
        random = np.random.default_rng(seed)
        for _ in range(50):
            x = random.standard_normal((random.integers(1, 9), 16)).astype(np.float32)
            y = random.standard_normal((16, 8)).astype(np.float32)
            np.testing.assert_allclose(
                session.run(None, {"x": x, "y": y})[0], x @ y, rtol=1e-4, atol=1e-5
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_the_gil_is_released():
    """A thread goes on counting while another is in a long run."""
    options = onrush.RunOptions()
    session = onrush.InferenceSession(models.LOOP)
    errors = []

    def work():
        try:
            session.run(None, LONG, options)
        except onrush.ort.errors.Fail as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.1)
    assert thread.is_alive()
    options.terminate = True
    thread.join(10)
    assert not thread.is_alive()
    assert errors == [
        "[ONNXRuntimeError] : 1 : FAIL : Exiting due to terminate flag being set to true."
    ]


def test_cancelling_a_task_stops_its_run():
    async def main():
        session = onrush.Session(models.LOOP)
        task = asyncio.create_task(session.run_async(LONG))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    begin = time.monotonic()
    asyncio.run(main())  # joins the pool's threads
    assert time.monotonic() - begin < 10


@contextlib.contextmanager
def signalled(number):
    """Sends the signal to this process after a while; again, should a destructor swallow it."""
    ended = threading.Event()

    def send():
        wait = 0.2
        while not ended.wait(wait):
            os.kill(os.getpid(), number)
            wait = 5

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("kind", ["session", "ort", "binding"])
def test_keyboard_interrupt_stops_a_run(kind):
    session = onrush.InferenceSession(models.LOOP)
    binding = session.io_binding()
    for name, array in LONG.items():
        binding.bind_cpu_input(name, array)
    binding.bind_output("y")
    runs = {
        "session": lambda: onrush.Session(models.LOOP).run(LONG),
        "ort": lambda: session.run(None, LONG),
        "binding": lambda: session.run_with_iobinding(binding),
    }
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), signalled(signal.SIGINT):
        runs[kind]()
    assert time.monotonic() - begin < 20
    y = session.run(None, {"n": np.array(1), "x": LONG["x"]})[0]  # the session goes on working
    np.testing.assert_allclose(y, np.sin(LONG["x"]), rtol=1e-6)


def test_handlers_of_signals_run_during_a_run():
    """A handler that raises nothing lets the run go on; here it then asks it to stop."""
    options = onrush.RunOptions()

    def handle(number, frame):
        options.terminate = True

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with pytest.raises(onrush.ort.errors.Fail, match="terminate"), signalled(signal.SIGUSR1):
            onrush.InferenceSession(models.LOOP).run(None, LONG, options)
    finally:
        signal.signal(signal.SIGUSR1, before)


def in_child(function):
    """The exit status of a forked child that calls ``function``."""
    gc.freeze()  # the child is not to collect sessions of onnxruntime, which may hang there
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a hang ends the child
        try:
            function()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    gc.unfreeze()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_once(session=None):
    session = session or onrush.Session(models.ADD)
    np.testing.assert_array_equal(session(x=X, y=Y)[0], X + 1)


def test_fork_before_first_use():
    assert in_child(run_once) == 0


def test_fork_after_use():
    """A session of the parent is refused in the child; new ones work."""
    session = onrush.Session(models.ADD, threads=4)
    run_once(session)

    def child():
        nonlocal session
        with pytest.raises(onrush.Error, match="before the process forked"):
            session(x=X, y=Y)
        run_once()
        dropped = weakref.ref(session)
        del session
        assert dropped() is None

    assert in_child(child) == 0
    run_once(session)


def python(code, **environment):
    """What a new interpreter prints. It is to say nothing else, and to end well."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def exit_with_live_sessions(device):
    """A thread is in the middle of a long run when the interpreter ends."""
    code = f"""
import numpy as np, onrush, threading
kept = onrush.Session({models.LOOP!r}, device={device!r})
value = onrush.OrtValue.ortvalue_from_numpy(np.ones(4, np.float32), {device!r}, 0)
def forever():
    kept(n=np.array(1 << 40), x=np.ones(4, np.float32))
threading.Thread(target=forever, daemon=True).start()
print(kept(n=np.array(3), x=np.ones(4, np.float32))[0].shape)
"""
    assert python(code) == "(4,)\n"


def test_exit_with_live_sessions():
    exit_with_live_sessions("cpu")


def exit_while_threads_make_runs(device):
    """Threads whose run ends while the interpreter does."""
    code = f"""
import numpy as np, onrush, threading, time
session = onrush.Session({models.ADD!r}, device={device!r})
x, y = np.ones((1 << 16, 3), np.float32), np.ones(3, np.float32)
def forever():
    while True:
        session(x=x, y=y)
for _ in range(3):
    threading.Thread(target=forever, daemon=True).start()
time.sleep(0.05)
"""
    assert python(code) == ""


def test_exit_while_threads_make_runs():
    exit_while_threads_make_runs("cpu")


def test_import_is_quick():
    """Besides numpy, and once Python has compiled the modules; milliseconds of the processor."""
    code = """
import time, numpy
begin = time.process_time()
import onrush
print(1000 * (time.process_time() - begin))
"""
    times = [float(python(code, PYTHONDONTWRITEBYTECODE="")) for _ in range(5)]
    assert min(times) < 50


def test_import_loads_nothing_heavy():
    loaded = set(python("import onrush, sys; print(*sys.modules)").split())
    assert not loaded & {"asyncio", "importlib.metadata", "json", "onnx", "torch"}


def test_nothing_is_left_behind():
    """After a session has gone: no threads, handlers, files or environment that were not there."""
    code = f"""
import os, signal, sys, warnings
import numpy as np
def state():
    return (
        len(os.listdir("/proc/self/task")),
        sorted(os.readlink(f"/proc/self/fd/{{fd}}") for fd in os.listdir("/proc/self/fd")
               if os.path.exists(f"/proc/self/fd/{{fd}}")),
        [signal.getsignal(number) for number in range(1, signal.NSIG)],
        dict(os.environ), list(warnings.filters), os.getcwd(), os.umask(0o22),
        np.geterr(), float(np.float32(1e-40) * np.float32(0.5)),
    )
before = state()
import onrush
session = onrush.Session({models.ADD!r}, threads=4)
session(np.ones((2, 3), np.float32), np.ones(3, np.float32))
assert len(os.listdir("/proc/self/task")) > before[0]
del session
for now, then in zip(state(), before):
    assert now == then, (now, then)
"""
    python(code)


def test_nothing_is_written(tmp_path):
    """Where no file can be written, as in a read-only container, models run all the same."""
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
import numpy as np, onrush
session = onrush.Session({models.ADD!r})
session(np.ones((2, 3), np.float32), np.ones(3, np.float32))
onrush.InferenceSession({models.ADD!r})
"""
    home = str(tmp_path)
    python(code, HOME=home, TMPDIR=home, XDG_CACHE_HOME=home, PYTHONDONTWRITEBYTECODE="1")
    assert os.listdir(home) == []


def in_process(start, function, *arguments):
    process = multiprocessing.get_context(start).Process(target=function, args=arguments)
    gc.freeze()  # see in_child
    process.start()
    gc.unfreeze()
    process.join(60)
    hangs = process.is_alive()
    process.kill()
    assert not hangs
    return process.exitcode


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_multiprocessing(start):
    assert in_process(start, run_once) == 0
    session = onrush.Session(models.ADD, threads=2)
    run_once(session)
    assert in_process(start, run_once) == 0
    if start == "fork":
        assert in_process(start, run_once, session) == 1  # the error of a session after a fork
    else:
        with pytest.raises(TypeError, match="pickle"):
            in_process(start, run_once, session)


def test_fork_during_a_run():
    """Threads of the parent are at work when it forks; the child's own sessions work."""
    options = onrush.RunOptions()
    session = onrush.InferenceSession(models.LOOP)

    def work():
        with pytest.raises(onrush.ort.errors.Fail):
            session.run(None, LONG, options)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.1)
    try:
        assert in_child(run_once) == 0
    finally:
        options.terminate = True
        thread.join()


def resident_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def growth_kib(step, steps, warm_up):
    for _ in range(warm_up):
        step()
    gc.collect()
    before = resident_kib()
    for _ in range(steps):
        step()
    gc.collect()
    return resident_kib() - before


def test_runs_do_not_leak():
    session = onrush.InferenceSession(models.MATMUL)
    text = onrush.InferenceSession(models.identity(models.STRING, None))
    x, y = np.ones((64, 64), np.float32), np.ones((64, 256), np.float32)  # 64 KiB a result
    words = np.array(["some text that is too long to be stored inline"] * 100)

    def step():
        session.run(None, {"x": x, "y": y})
        session.run_with_ort_values(
            None,
            {
                name: onrush.OrtValue.ortvalue_from_numpy(array)
                for name, array in {"x": x, "y": y}.items()
            },
        )
        text.run(None, {"x": words})
        with pytest.raises(onrush.ort.errors.InvalidArgument):
            session.run(None, {"x": x.astype(np.float64), "y": y})

    assert growth_kib(step, 2500, 200) < 2048  # four runs a step


def test_sessions_do_not_leak():
    weight = np.ones((512, 512), np.float32)  # 1 MiB
    from onnx import numpy_helper

    model = models.model(
        [models.node("MatMul", ["x", "w"], ["y"])],
        [models.tensor("x", models.FLOAT, ["N", 512])],
        [models.tensor("y", models.FLOAT, ["N", 512])],
        [numpy_helper.from_array(weight, "w")],
    )

    def step():
        onrush.Session(model, threads=2)(x=weight[:2])

    assert growth_kib(step, 50, 10) < 8192


def test_arrays_are_released():
    class Array(np.ndarray):  # np.ndarray itself takes no weak references
        pass

    x = X.copy().view(Array)
    alive = weakref.ref(x)
    session = onrush.InferenceSession(models.ADD)
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_cpu_input("y", Y)
    binding.bind_output("z")
    session.run_with_iobinding(binding)
    del x
    assert alive() is not None
    binding.clear_binding_inputs()
    gc.collect()
    assert alive() is None
