"""SparseTensor, as a container: no operator of ONNX itself takes one."""

from __future__ import annotations

import numpy as np

from .. import _core
from .devices import OrtDevice
from .enums import OrtSparseFormat


class SparseCooView:
    def __init__(self, indices: np.ndarray):
        self._indices = indices

    def indices(self) -> np.ndarray:
        """Positions in the flattened tensor, or rows of coordinates."""
        return self._indices


class SparseCsrView:
    def __init__(self, inner: np.ndarray, outer: np.ndarray):
        self._inner, self._outer = inner, outer

    def inner(self) -> np.ndarray:
        """The column of each value."""
        return self._inner

    def outer(self) -> np.ndarray:
        """Where each row begins among the values, and their count."""
        return self._outer


class SparseTensor:
    """The values of a tensor that are not zero, and where they stand."""

    _shape: list[int]
    _values: np.ndarray
    _view: SparseCooView | SparseCsrView
    _format: OrtSparseFormat

    def __init__(self, sparse_tensor: SparseTensor):
        if not isinstance(sparse_tensor, SparseTensor):
            raise ValueError(
                "SparseTensors are made with SparseTensor.sparse_coo_from_numpy and the like"
            )
        self.__dict__.update(sparse_tensor.__dict__)

    @classmethod
    def _make(cls, shape, values: np.ndarray, view, format_: OrtSparseFormat) -> SparseTensor:
        if values.ndim != 1:
            raise RuntimeError("the values of a sparse tensor must be one-dimensional")
        tensor = cls.__new__(cls)
        tensor._shape = [int(extent) for extent in shape]
        tensor._values = values.astype(object) if values.dtype.kind in "US" else values
        tensor._view, tensor._format = view, format_
        return tensor

    @classmethod
    def sparse_coo_from_numpy(
        cls, dense_shape, values: np.ndarray, coo_indices: np.ndarray, ort_device: OrtDevice
    ) -> SparseTensor:
        """Values with their positions in the flattened tensor ([n]) or coordinates ([n, 2])."""
        if coo_indices.size not in (len(values), 2 * len(values)):
            raise RuntimeError(
                f"Index size: {coo_indices.size} must be equal to or twice the values size: "
                f"{len(values)}"
            )
        view = SparseCooView(coo_indices.astype(np.int64, copy=False))
        return cls._make(dense_shape, values, view, OrtSparseFormat.ORT_SPARSE_COO)

    @classmethod
    def sparse_csr_from_numpy(
        cls,
        dense_shape,
        values: np.ndarray,
        inner_indices: np.ndarray,
        outer_indices: np.ndarray,
        ort_device: OrtDevice,
    ) -> SparseTensor:
        """Values row by row, with the column of each and where each row begins."""
        if len(inner_indices) != len(values) or len(outer_indices) != int(dense_shape[0]) + 1:
            raise RuntimeError(
                "a CSR tensor has an inner index for each value, an outer one for each row + 1"
            )
        view = SparseCsrView(
            inner_indices.astype(np.int64, copy=False), outer_indices.astype(np.int64, copy=False)
        )
        return cls._make(dense_shape, values, view, OrtSparseFormat.ORT_SPARSE_CSRC)

    def _get_c_tensor(self) -> SparseTensor:
        return self

    def values(self) -> np.ndarray:
        return self._values

    def as_coo_view(self) -> SparseCooView:
        return self._viewed(SparseCooView, "COO")

    def as_csrc_view(self) -> SparseCsrView:
        return self._viewed(SparseCsrView, "CSR(C)")

    def as_blocksparse_view(self):
        return self._viewed(type(None), "BlockSparse")

    def _viewed(self, kind: type, name: str):
        if not isinstance(self._view, kind):
            raise RuntimeError(f"This sparse tensor does not contain {name} format")
        return self._view

    def to_cuda(self, ort_device: OrtDevice) -> SparseTensor:
        raise RuntimeError("Cuda is not available in this build")

    def format(self) -> OrtSparseFormat:
        return self._format

    def dense_shape(self) -> list[int]:
        return self._shape

    def data_type(self) -> str:
        return "sparse_" + _core.OrtValue.ortvalue_from_numpy(self._values[:0]).data_type()

    def device_name(self) -> str:
        return "cpu"
