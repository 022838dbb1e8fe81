"""OrtValue: a value that lives outside of runs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from .devices import OrtMemoryInfo, memory_device
from .sparse import SparseTensor


def onnx_type(element_type: Any) -> int:
    """The number of an ONNX element type, given as such or as anything numpy.dtype() takes."""
    if isinstance(element_type, int):
        return element_type
    try:
        return _core.dtype_from_numpy(element_type)
    except TypeError as error:  # numpy's
        raise RuntimeError(f"Not a valid numpy type: {error}") from None


class OrtValue:
    """A tensor, sequence, map or optional in the memory of a device.

    A tensor in host memory shares its elements with the numpy array or DLPack object it was made
    of, and with what ``numpy()`` and ``__dlpack__()`` give. On a GPU it shares them with DLPack
    objects, such as ``torch.from_dlpack(value)``, and with those that read
    ``__cuda_array_interface__``; numpy arrays are copies.
    """

    def __init__(
        self,
        ortvalue: _core.OrtValue | SparseTensor,
        numpy_obj: np.ndarray | None = None,
        session: Any = None,
    ):
        if not isinstance(ortvalue, (_core.OrtValue, SparseTensor)):
            raise ValueError(
                "OrtValues are made with OrtValue.ortvalue_from_numpy(array) and the like"
            )
        self._ortvalue: Any = ortvalue
        self._numpy_obj = numpy_obj
        self._session = session

    def _get_c_value(self) -> _core.OrtValue:
        return self._ortvalue

    @classmethod
    def ortvalue_from_numpy(
        cls,
        numpy_obj: np.ndarray,
        /,
        device_type: str = "cpu",
        device_id: int = 0,
        vendor_id: int = -1,
    ) -> OrtValue:
        """A tensor on the array's own elements if they are dense, else on a copy; on a GPU, on a
        copy there."""
        device = memory_device(device_type, device_id, vendor_id)
        return cls(_core.OrtValue.ortvalue_from_numpy(numpy_obj, device), numpy_obj)

    @classmethod
    def ortvalue_from_numpy_with_onnx_type(
        cls, data: np.ndarray, /, onnx_element_type: int
    ) -> OrtValue:
        """A tensor of another element type of the same width, on the array's own elements."""
        return cls(_core.OrtValue.ortvalue_from_numpy_with_onnx_type(data, onnx_element_type), data)

    @classmethod
    def ortvalue_from_shape_and_type(
        cls,
        shape: Sequence[int],
        element_type: Any,
        device_type: str = "cpu",
        device_id: int = 0,
        vendor_id: int = -1,
        memory_info: OrtMemoryInfo | None = None,
    ) -> OrtValue:
        """A tensor with elements of no particular value.

        element_type is a numpy type or the number of an ONNX type.
        """
        if memory_info is not None:
            if (device_type, device_id, vendor_id) != ("cpu", 0, -1):
                warnings.warn(
                    "device_type, device_id, and vendor_id are ignored when memory_info is "
                    "provided.",
                    stacklevel=2,
                )
            device_type, device_id = memory_info.name.lower(), memory_info.device_id
        return cls(
            _core.OrtValue.ortvalue_from_shape_and_onnx_type(
                list(shape),
                onnx_type(element_type),
                memory_device(device_type, device_id, vendor_id),
            )
        )

    @classmethod
    def ort_value_from_sparse_tensor(cls, sparse_tensor: SparseTensor) -> OrtValue:
        return cls(sparse_tensor)

    @classmethod
    def from_dlpack(cls, data: Any, /) -> OrtValue:
        """A tensor in the memory of an object with DLPack (torch, jax, numpy ...) or a capsule."""
        return cls(_core.OrtValue.from_dlpack(data))

    def as_sparse_tensor(self) -> SparseTensor:
        if not self.is_sparse_tensor():
            raise RuntimeError("this OrtValue holds no sparse tensor")
        return self._ortvalue

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self._tensor().data_ptr()

    def device_name(self) -> str:
        return self._ortvalue.device_name().lower()

    def shape(self) -> list[int]:
        return self._ortvalue.dense_shape() if self.is_sparse_tensor() else self._ortvalue.shape()

    def data_type(self) -> str:
        """Such as "tensor(float)"."""
        return self._ortvalue.data_type()

    def element_type(self) -> int:
        """The number of the ONNX type of the elements."""
        return self._tensor().element_type()

    def tensor_size_in_bytes(self) -> int:
        return self._tensor().tensor_size_in_bytes()

    def has_value(self) -> bool:
        """False for an empty optional."""
        return self.is_sparse_tensor() or self._ortvalue.has_value()

    def is_tensor(self) -> bool:
        return not self.is_sparse_tensor() and self._ortvalue.is_tensor()

    def is_sparse_tensor(self) -> bool:
        return isinstance(self._ortvalue, SparseTensor)

    def is_tensor_sequence(self) -> bool:
        return not self.is_sparse_tensor() and self._ortvalue.is_tensor_sequence()

    def numpy(self) -> np.ndarray:
        """An array that shares the tensor's elements, or has a copy of those on a GPU."""
        return self._tensor().numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if copy is not None:
            return np.array(array, dtype=dtype, copy=copy)
        return array if dtype is None else np.asarray(array, dtype=dtype)

    def __dlpack__(self, *, stream: Any = None) -> Any:
        return self._tensor().__dlpack__(stream=stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._tensor().__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The elements on a GPU, which are there; AttributeError for a tensor in host memory."""
        if self.is_sparse_tensor():
            raise AttributeError("__cuda_array_interface__")
        return self._ortvalue.__cuda_array_interface__

    def update_inplace(self, data: np.ndarray | OrtValue) -> None:
        """Overwrite the tensor's elements with as many of the same dtype."""
        if not isinstance(data, (np.ndarray, OrtValue)):
            raise TypeError("data must be a numpy.ndarray or an OrtValue.")
        self._tensor().update_inplace(data)

    def _tensor(self) -> _core.OrtValue:
        if self.is_sparse_tensor():
            raise RuntimeError("only OrtValues of dense tensors can be asked for this")
        return self._ortvalue


class OrtValueVector(list):
    """Values of the extension module's OrtValue, as some programs pass them on."""

    push_back = list.append

    def reserve(self, size: int, /) -> None:
        pass

    def shrink_to_fit(self) -> None:
        pass

    def element_type_at(self, index: int, /) -> int:
        return self[index].element_type()

    def dlpack_at(self, index: int, /) -> Any:
        return self[index].to_dlpack()

    def to_dlpacks(self, to_tensor: Any = None, /) -> list[Any]:
        return [
            value.to_dlpack() if to_tensor is None else to_tensor(value.to_dlpack())
            for value in self
        ]

    def bool_tensor_indices(self) -> list[int]:
        return [i for i, value in enumerate(self) if value.data_type() == "tensor(bool)"]


def copy_tensors(src: Sequence[OrtValue], dst: Sequence[OrtValue], stream: Any = None) -> None:
    """Copy the elements of each value of ``src`` to that of ``dst``."""
    for source, destination in zip(src, dst, strict=True):
        destination.update_inplace(source)
