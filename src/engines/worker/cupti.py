"""What this process makes a GPU do, and the calls that ask for it, as CUPTI records them."""
import ctypes
import struct
from typing import NamedTuple


class Call(NamedTuple):
    """A call of CUDA's; times are in nanoseconds of the clock given."""

    start: int
    end: int
    name: str  # "cudaLaunchKernel"


class Work(NamedTuple):
    """A kernel, a copy ("Memcpy HtoD") or a fill ("Memset") on the device."""

    start: int
    end: int
    name: str
    asked: int  # when the call began that asked for it


# CUpti_ActivityKind, and where cupti_activity.h has the members: they have kept their places since
# CUDA 11. Kernels: start, end, correlation, name; copies and fills: start, end, correlation; calls:
# number, start, end, correlation.
COPY, FILL, DRIVER, RUNTIME, KERNEL = 1, 2, 4, 5, 10
KERNEL_LAYOUT = struct.Struct("=16xQQ60xI8xQ")
COPY_LAYOUT = struct.Struct("=4xB11xQQ12xI")
CALL_LAYOUT = struct.Struct("=4xIQQ8xI")
DOMAINS = {DRIVER: 1, RUNTIME: 2}  # CUpti_CallbackDomain
COPIES = {1: "Memcpy HtoD", 2: "Memcpy DtoH", 8: "Memcpy DtoD"}  # CUpti_ActivityMemcpyKind

BUFFER_BYTES = 1 << 22
GiveBuffer = ctypes.CFUNCTYPE(
    None,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_size_t),
    ctypes.POINTER(ctypes.c_size_t),
)
TakeBuffer = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
)


class Trace:
    """Records while the block runs. One at a time in a process."""

    def __init__(self, library, clock):
        """library: the file; clock: a function that gives nanoseconds."""
        if not library:
            raise RuntimeError(
                "CUPTI, which tells what a GPU does, was not found: onrush doctor says where it "
                "was looked for"
            )
        self.cupti = ctypes.CDLL(library)
        self.clock = clock
        self.buffers, self.filled = {}, []
        self.callbacks = GiveBuffer(self.give_buffer), TakeBuffer(self.take_buffer)

    def call(self, name, *arguments):
        if status := getattr(self.cupti, name)(*arguments):
            raise RuntimeError(f"CUPTI does not trace here: {name} failed with {status}")

    def give_buffer(self, buffer, size, records):
        memory = ctypes.create_string_buffer(BUFFER_BYTES)
        buffer[0], size[0], records[0] = ctypes.addressof(memory), BUFFER_BYTES, 0
        self.buffers[ctypes.addressof(memory)] = memory

    def take_buffer(self, context, stream, buffer, size, valid):
        self.filled.append((buffer, valid))

    def __enter__(self):
        self.call("cuptiActivityRegisterCallbacks", *self.callbacks)
        for kind in (RUNTIME, DRIVER, KERNEL, COPY, FILL):
            self.call("cuptiActivityEnable", kind)
        return self

    def __exit__(self, *exception):
        self.cupti.cuptiActivityFlushAll(1)
        for kind in (RUNTIME, DRIVER, KERNEL, COPY, FILL):
            self.cupti.cuptiActivityDisable(kind)

    def clock_offset(self):
        """What to add to CUPTI's times; between two looks at the clock, of the closest pair."""
        best = None
        for _ in range(20):
            stamp = ctypes.c_uint64()
            before = self.clock()
            self.call("cuptiGetTimestamp", ctypes.byref(stamp))
            after = self.clock()
            found = (after - before, (before + after) // 2 - stamp.value)
            best = min(best or found, found)
        return best[1]

    def records(self):
        """Addresses of what was recorded, with their kinds."""
        record = ctypes.c_void_p()
        for buffer, valid in self.filled:
            record.value = None
            while not self.cupti.cuptiActivityGetNextRecord(
                ctypes.c_void_p(buffer), ctypes.c_size_t(valid), ctypes.byref(record)
            ):
                yield record.value, ctypes.c_uint32.from_address(record.value).value

    def call_name(self, kind, number, known):
        key = kind, number
        if key not in known:
            name = ctypes.c_char_p()
            failed = self.cupti.cuptiGetCallbackName(DOMAINS[kind], number, ctypes.byref(name))
            # "cudaLaunchKernel_v7000"
            known[key] = "" if failed or not name.value else name.value.decode().split("_v")[0]
        return known[key]

    def result(self):
        """Calls and works, each by start, of a block that has ended."""
        offset, known = self.clock_offset(), {}
        calls, works, asked = [], [], {}
        for address, kind in self.records():
            if kind in DOMAINS:
                raw = ctypes.string_at(address, CALL_LAYOUT.size)
                number, start, end, correlation = CALL_LAYOUT.unpack(raw)
                name = self.call_name(kind, number, known)
                calls.append(Call(start + offset, end + offset, name))
                # A driver's call within one of the runtime has its number.
                asked[correlation] = min(asked.get(correlation, start), start)
            elif kind == KERNEL:
                raw = ctypes.string_at(address, KERNEL_LAYOUT.size)
                start, end, correlation, name = KERNEL_LAYOUT.unpack(raw)
                name = ctypes.string_at(name).decode() if name else "kernel"
                works.append((start, end, name, correlation))
            elif kind in (COPY, FILL):
                raw = ctypes.string_at(address, COPY_LAYOUT.size)
                which, start, end, correlation = COPY_LAYOUT.unpack(raw)
                name = COPIES.get(which, "Memcpy") if kind == COPY else "Memset"
                works.append((start, end, name, correlation))
        found = [
            Work(start + offset, end + offset, name, asked.get(correlation, start) + offset)
            for start, end, name, correlation in works
            if end > start > 0
        ]
        return sorted(calls), sorted(found)
