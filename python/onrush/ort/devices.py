"""Where memory lies: OrtDevice, OrtMemoryInfo and what goes with them."""

from __future__ import annotations

from typing import NamedTuple

from .. import _core
from .enums import (
    OrtAllocatorType,
    OrtDeviceMemoryType,
    OrtDeviceVendorId,
    OrtHardwareDeviceType,
    OrtMemType,
)

_CPU, _GPU = 0, 1
_DEVICE_TYPES = {"cpu": 0, "cuda": 1, "gpu": 1, "webgpu": 1, "npu": 3, "cann": 3, "dml": 4}
_VENDORS = {
    "cuda": OrtDeviceVendorId.NVIDIA,
    "dml": OrtDeviceVendorId.MICROSOFT,
    "cann": OrtDeviceVendorId.HUAWEI,
    "webgpu": OrtDeviceVendorId.NONE,
}


class COrtDevice(NamedTuple):
    """What onnxruntime's extension module calls OrtDevice."""

    type: int
    memory: int
    vendor: int
    id: int

    def device_type(self) -> int:
        return self.type

    def device_id(self) -> int:
        return self.id

    def vendor_id(self) -> int:
        return self.vendor

    def mem_type(self) -> int:
        return self.memory


for _name, _type in (_DEVICE_TYPES | {"fpga": 2, "default_memory": 0}).items():
    setattr(COrtDevice, _name, staticmethod(lambda number=_type: number))


class OrtDevice:
    """A device by type and number; make it with OrtDevice.make("cpu", 0)."""

    def __init__(self, c_ort_device: COrtDevice):
        if not isinstance(c_ort_device, COrtDevice):
            raise ValueError("OrtDevices are made with OrtDevice.make(name, id)")
        self._ort_device = c_ort_device

    def _get_c_device(self) -> COrtDevice:
        return self._ort_device

    @staticmethod
    def make(ort_device_name: str, device_id: int, vendor_id: int = -1) -> OrtDevice:
        if ort_device_name not in _DEVICE_TYPES:
            raise Exception("Unsupported device type: " + ort_device_name)
        if vendor_id < 0:
            vendor_id = _VENDORS.get(ort_device_name, OrtDeviceVendorId.NONE)
        return OrtDevice(COrtDevice(_DEVICE_TYPES[ort_device_name], 0, int(vendor_id), device_id))

    def device_id(self) -> int:
        return self._ort_device.id

    def device_type(self) -> int:
        return self._ort_device.type

    def device_vendor_id(self) -> int:
        return self._ort_device.vendor

    def device_mem_type(self) -> int:
        return self._ort_device.memory


def memory_device(device_type: str, device_id: int = 0, vendor_id: int = -1) -> COrtDevice:
    """A device that tensors may lie on; RuntimeError for others, and for absent GPUs."""
    device = OrtDevice.make(device_type, device_id, vendor_id)._get_c_device()
    if device.type not in (_CPU, _GPU):
        raise RuntimeError(f"Onrush has no memory on devices of type '{device_type}'")
    if device.type == _GPU and (reason := _core.why_no_cuda()):
        raise RuntimeError(f"no memory can be had on '{device_type}': {reason}")
    return device


class OrtMemoryInfo(NamedTuple):
    name: str
    allocator_type: OrtAllocatorType
    device_id: int
    mem_type: OrtMemType
    device_mem_type: OrtDeviceMemoryType = OrtDeviceMemoryType.DEFAULT
    device_vendor_id: int = 0


CPU_MEMORY = OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT)


def gpu_memory(number: int) -> OrtMemoryInfo:
    return OrtMemoryInfo(
        "Cuda",
        OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        number,
        OrtMemType.DEFAULT,
        device_vendor_id=OrtDeviceVendorId.NVIDIA,
    )


class OrtArenaCfg:
    """Sizes of an arena; Onrush sizes its arenas itself."""

    max_mem: int = 0
    arena_extend_strategy: int = -1
    initial_chunk_size_bytes: int = -1
    max_dead_bytes_per_chunk: int = -1
    initial_growth_chunk_size_bytes: int = -1
    max_power_of_two_extend_bytes: int = -1

    def __init__(self, *args: int | dict[str, int]):
        """Takes a dict of the fields above, or the first four in order."""
        names = list(self.__annotations__)
        values = args[0] if args and isinstance(args[0], dict) else dict(zip(names, args))
        for name, value in values.items():
            if name not in names:
                raise RuntimeError(f"Invalid OrtArenaCfg option: {name}")
            setattr(self, name, value)


class OrtHardwareDevice(NamedTuple):
    type: OrtHardwareDeviceType
    vendor: str
    vendor_id: int
    device_id: int
    metadata: dict[str, str]


class OrtEpDevice(NamedTuple):
    ep_name: str
    ep_vendor: str
    ep_metadata: dict[str, str]
    ep_options: dict[str, str]
    device: OrtHardwareDevice

    def memory_info(self, memory_type: OrtDeviceMemoryType, /) -> OrtMemoryInfo:
        """The memory of the device itself, or of the host where the device reads it."""
        if self.device.type != OrtHardwareDeviceType.GPU or memory_type:
            return CPU_MEMORY
        return gpu_memory(self.device.device_id)

    def create_sync_stream(self) -> None:
        raise RuntimeError("give a stream of your own as CUDA's option user_compute_stream")


CPU_DEVICE = OrtEpDevice(
    "CPUExecutionProvider",
    "Onrush",
    {},
    {},
    OrtHardwareDevice(OrtHardwareDeviceType.CPU, "", 0, 0, {}),
)


def gpu_device(number: int) -> OrtEpDevice:
    return OrtEpDevice(
        "CUDAExecutionProvider",
        "Onrush",
        {},
        {"device_id": str(number)},
        OrtHardwareDevice(
            OrtHardwareDeviceType.GPU, "NVIDIA", OrtDeviceVendorId.NVIDIA, number, {}
        ),
    )
