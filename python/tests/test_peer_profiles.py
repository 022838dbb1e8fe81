"""What the peers' workers make of profiles of a GPU: whose time is what."""

import ctypes
import pathlib
import struct
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).parents[2] / "src/engines/worker"))

import cupti
from cupti import Call, Work
from gpu_runs import Span, innermost, profile_of
from torch_trace import parts_of_trace

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def us(*items):
    """The same with times in nanoseconds."""
    return [type(i)(1000 * i[0], 1000 * i[1], *i[2:]) for i in items]


def work(start, end, name, asked):
    return Work(1000 * start, 1000 * end, name, 1000 * asked)


def shown(profile):
    return [(e["name"], e["op"], e["kernel"], e["us"], e["device_us"]) for e in profile["events"]]


def test_spans_within_spans():
    loop, body = us(Span(10, 50, "loop", "Loop", CUDA, 0), Span(20, 30, "body", "Add", CUDA, 1))
    pieces = [(a // 1000, b // 1000, s and s.name) for a, b, s in innermost([loop, body], 0, 60000)]
    assert pieces == [
        (0, 10, None), (10, 20, "loop"), (20, 30, "body"), (30, 50, "loop"), (50, 60, None),
    ]  # fmt: skip


def test_fallback_to_the_cpu():
    """Inputs go there, a kernel, its result comes back for a node on the CPU, which the device
    waits for; its result goes there again, and outputs come back."""
    spans = us(
        Span(20, 28, "conv", "Conv", CUDA, 0),
        Span(30, 60, "out", "MemcpyToHost", CUDA, 1),
        Span(60, 160, "atan", "Atan", CPU, 2),
        Span(160, 170, "in", "MemcpyFromHost", CUDA, 3),
        Span(170, 180, "abs", "Abs", CUDA, 4),
    )
    calls = us(
        Call(5, 15, "cudaMemcpyAsync"),
        Call(22, 25, "cudaLaunchKernel"),
        Call(32, 58, "cudaMemcpy"),
        Call(162, 165, "cudaMemcpyAsync"),
        Call(172, 175, "cudaLaunchKernel"),
        Call(180, 185, "cudaMemcpyAsync"),
        Call(186, 230, "cudaStreamSynchronize"),
    )
    works = [
        work(10, 14, "Memcpy HtoD", 5),
        work(26, 46, "nchwToNhwcKernel", 22),
        work(46, 48, "gemm", 22),
        work(50, 55, "Memcpy DtoH", 32),
        work(166, 169, "Memcpy HtoD", 162),
        work(176, 196, "abs_kernel", 172),
        work(200, 210, "Memcpy DtoH", 180),
    ]
    profile = profile_of([(0, 240000)], spans, calls, works)
    assert profile["run_us"] == 240
    assert shown(profile) == [
        # 5 us of the call before the copy begins, 4 of the device, 1 until the call returns.
        ("", "Memcpy HtoD", "", 10, 4),
        ("conv", "Conv", "nchwToNhwcKernel", 20, 20),
        ("conv", "Conv", "gemm", 2, 2),
        ("out", "MemcpyToHost", "", 12, 5),
        ("atan", "Atan", "", 100, 0),
        ("in", "MemcpyFromHost", "", 10, 3),
        ("abs", "Abs", "abs_kernel", 20, 20),
        ("", "synchronize", "", 24, 0),
        ("", "Memcpy DtoH", "", 10, 10),
    ]
    by_op = {e["op"]: e for e in profile["events"]}
    assert by_op["Conv"]["position"] == 0 and by_op["synchronize"]["position"] == -1
    # What is left of the run lies between kernels.
    assert 240 - sum(e["us"] for e in profile["events"]) == 5 + 5 + 7 + 5 + 10


def test_kernels_that_overlap_count_once():
    spans = us(Span(0, 5, "a", "Conv", CUDA, 0), Span(5, 9, "b", "Conv", CUDA, 1))
    works = [work(10, 30, "k", 2), work(25, 40, "k", 7)]
    profile = profile_of([(0, 40000)], spans, us(Call(2, 4, "launch"), Call(7, 8, "launch")), works)
    assert shown(profile) == [("a", "Conv", "k", 20, 20), ("b", "Conv", "k", 10, 10)]


def test_runs_are_told_apart():
    spans = us(Span(1, 5, "a", "Abs", CUDA, 0), Span(101, 105, "a", "Abs", CUDA, 0))
    calls = us(Call(2, 3, "launch"), Call(102, 103, "launch"))
    works = [work(10, 12, "k", 2), work(110, 116, "k", 102)]
    profile = profile_of([(0, 20000), (100000, 120000)], spans, calls, works)
    (event,) = profile["events"]
    assert event["us"] == 4 and event["calls"] == 1


def traced(name, category, start, duration, **arguments):
    return {"ph": "X", "name": name, "cat": category, "ts": start, "dur": duration,
            "args": arguments}  # fmt: skip


def test_trace_of_pytorch():
    """Copies in the middle of a model are not those of its inputs and outputs."""
    events = [
        traced("onrush run", "user_annotation", 0, 100),
        traced("onrush run", "gpu_user_annotation", 10, 70),
        traced("aten::copy_", "cpu_op", 1, 8),
        traced("cudaMemcpyAsync", "cuda_runtime", 2, 4, correlation=1),
        traced("Memcpy HtoD (Pageable -> Device)", "gpu_memcpy", 3, 2, correlation=1),
        traced("aten::linear", "cpu_op", 10, 10),
        traced("aten::addmm", "cpu_op", 12, 7),
        traced("cudaLaunchKernel", "cuda_runtime", 14, 2, correlation=2),
        traced("gemm", "kernel", 17.5, 4.5, correlation=2),
        traced("aten::item", "cpu_op", 21, 12),
        traced("cudaMemcpyAsync", "cuda_runtime", 22, 2, correlation=3),
        traced("Memcpy DtoH (Device -> Pinned)", "gpu_memcpy", 26, 1, correlation=3),
        traced("cudaStreamSynchronize", "cuda_runtime", 25, 6),
        traced("aten::relu", "cpu_op", 40, 10),
        traced("cuLaunchKernel", "cuda_driver", 41, 2, correlation=4),
        traced("relu", "kernel", 45, 5, correlation=4),
    ]
    runs, spans, calls, works = parts_of_trace(events)
    assert runs == [(0, 100000)]
    assert [s.op for s in spans] == ["aten::copy_", "aten::linear", "aten::item", "aten::relu"]
    assert shown(profile_of(runs, spans, calls, works)) == [
        ("", "Memcpy HtoD", "", 4, 2),
        ("", "aten::linear", "gemm", 4.5, 4.5),
        ("", "MemcpyToHost", "", 3, 1),
        ("", "synchronize", "", 5, 0),
        ("", "aten::relu", "relu", 5, 5),
    ]


class Recorded:
    """Stands for CUPTI: a buffer of records."""

    def __init__(self, records):
        self.memory = [ctypes.create_string_buffer(record, len(record)) for record in records]
        self.next = iter(self.memory)

    def cuptiGetTimestamp(self, stamp):
        stamp._obj.value = 1_000_000
        return 0

    def cuptiActivityGetNextRecord(self, buffer, valid, record):
        found = next(self.next, None)
        record._obj.value = found and ctypes.addressof(found)
        return 0 if found else 12

    def cuptiGetCallbackName(self, domain, number, name):
        name._obj.value = {1: b"cuLaunchKernel", 2: b"cudaLaunchKernel_v7000"}[domain]
        return 0


def test_records_of_cupti(monkeypatch):
    with pytest.raises(RuntimeError, match="onrush doctor"):
        cupti.Trace("", None)
    name = ctypes.create_string_buffer(b"_Z4gemmPf")
    call = struct.pack("=IIQQIIII", cupti.RUNTIME, 211, 2000, 3000, 1, 2, 7, 0)
    inner = struct.pack("=IIQQIIII", cupti.DRIVER, 307, 2100, 2900, 1, 2, 7, 0)
    kernel = struct.pack("=I12xQQ60xI8xQ", cupti.KERNEL, 2500, 4500, 7, ctypes.addressof(name))
    copy = struct.pack("=IB11xQQ12xI", cupti.COPY, 1, 5000, 6000, 8)
    monkeypatch.setattr(cupti.ctypes, "CDLL", lambda path: Recorded([call, inner, kernel, copy]))
    trace = cupti.Trace("libcupti.so", lambda: 1_000_100)
    trace.filled = [(0, 1)]
    calls, works = trace.result()
    assert calls == [Call(2100, 3100, "cudaLaunchKernel"), Call(2200, 3000, "cuLaunchKernel")]
    assert works == [Work(2600, 4600, "_Z4gemmPf", 2100), Work(5100, 6100, "Memcpy HtoD", 5100)]
