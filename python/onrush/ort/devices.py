"""Where memory lies: OrtDevice, OrtMemoryInfo and what goes with them."""

from __future__ import annotations

from typing import NamedTuple

from .enums import (
    OrtAllocatorType,
    OrtDeviceMemoryType,
    OrtDeviceVendorId,
    OrtHardwareDeviceType,
    OrtMemType,
)

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


def require_cpu(device_type: str, device_id: int = 0, vendor_id: int = -1) -> None:
    """Raise unless this build has memory on the device."""
    if OrtDevice.make(device_type, device_id, vendor_id).device_type() != 0:
        raise RuntimeError(f"this build of Onrush has no memory on device '{device_type}'")


class OrtMemoryInfo(NamedTuple):
    name: str
    allocator_type: OrtAllocatorType
    device_id: int
    mem_type: OrtMemType
    device_mem_type: OrtDeviceMemoryType = OrtDeviceMemoryType.DEFAULT
    device_vendor_id: int = 0


CPU_MEMORY = OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT)


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
        return CPU_MEMORY

    def create_sync_stream(self) -> None:
        raise RuntimeError("the CPU has no streams")


CPU_DEVICE = OrtEpDevice(
    "CPUExecutionProvider",
    "Onrush",
    {},
    {},
    OrtHardwareDevice(OrtHardwareDeviceType.CPU, "", 0, 0, {}),
)
