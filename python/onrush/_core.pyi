"""The typed layer over the C++ runtime, of which the rest of the package is made.

All functions raise onrush.Error, and TypeError or RuntimeError for objects that cannot be
converted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

version: str

def dtype_from_numpy(dtype: Any) -> int:
    """The number of the ONNX element type for anything that numpy.dtype() takes."""

def program(arguments: Sequence[str]) -> int:
    """Run the program onrush as main() would, arguments[0] being its name; gives the exit code."""

def why_no_cuda() -> str:
    """Why this process can use no GPU, and what to do about it; empty if it can."""

def cuda_device_count() -> int: ...
def synchronize(device: tuple[int, int, int, int] | None) -> None:
    """Wait for all work on a device (type, memory, vendor, number; None: the host)."""

class CancelFlag:
    """A request to stop runs; may be set from any thread."""

    requested: bool

class Profile:
    """Where the time of runs went; thread safe."""

    def runs(
        self,
    ) -> list[tuple[int, int, int, list[tuple[tuple[str, str, tuple[str, ...]], int, int]]]]:
        """Thread, start, duration and steps (described as in plans(), start, duration), in ns."""

class Session:
    """A loaded model. Thread safe; the GIL is released while models load and run."""

    def __init__(
        self,
        source: str | bytes,
        *,
        threads: int = 0,
        device: str = "cpu",
        precision: str = "standard",
        optimization_level: int = 1,
        memory_limit: int = 0,
        cache_folder: str = "",
        tune: bool = False,
        stream: int = 0,
        dims: Mapping[str, int] = {},
        initializers: Mapping[str, Any] = {},
    ) -> None:
        """``source`` is a path or a model's bytes, which are shared. ``stream`` is the CUstream on
        which to run, 0 for one of the session's own. ``dims`` fixes named dims of inputs;
        ``initializers`` replaces those of the model, memory shared."""

    @property
    def inputs(self) -> list[tuple[str, str, list[int | str | None] | None]]:
        """Name, type and shape (None: rank unknown, or no tensor) of each input without default."""
    @property
    def outputs(self) -> list[tuple[str, str, list[int | str | None] | None]]: ...
    @property
    def overridable_initializers(self) -> list[tuple[str, str, list[int]]]:
        """Inputs with a default."""
    @property
    def metadata(self) -> dict[str, str]: ...
    @property
    def model_info(self) -> dict[str, Any]: ...
    def plans(self) -> list[tuple[list[str], list[str], list[tuple[str, str, tuple[str, ...]]]]]:
        """Of each plan made so far: sizes, guards, and kind, name and ONNX nodes of its steps."""
    def run(
        self,
        feed: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        cancel: CancelFlag | None = None,
        profile: Profile | None = None,
    ) -> list[Any]:
        """Values of the named outputs (None or none: of all), that share no memory with inputs."""
    def run_values(
        self,
        feed: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        cancel: CancelFlag | None = None,
        profile: Profile | None = None,
    ) -> list[OrtValue]: ...

class OrtValue:
    """A value outside of runs; immutable but for the elements of its tensor."""

    @staticmethod
    def ortvalue_from_numpy(array: np.ndarray, device: Any = None) -> OrtValue: ...
    @staticmethod
    def ortvalue_from_numpy_with_onnx_type(array: np.ndarray, onnx_type: int) -> OrtValue: ...
    @staticmethod
    def ortvalue_from_shape_and_type(
        shape: Sequence[int], type: Any, device: Any = None
    ) -> OrtValue: ...
    @staticmethod
    def ortvalue_from_shape_and_onnx_type(
        shape: Sequence[int], onnx_type: int, device: Any = None
    ) -> OrtValue: ...
    @staticmethod
    def from_pointer(
        address: int, shape: Sequence[int], onnx_type: int, device: Any = None
    ) -> OrtValue:
        """The caller keeps the memory alive."""
    @staticmethod
    def from_dlpack(object: Any) -> OrtValue: ...
    def numpy(self) -> np.ndarray:
        """An array that shares the tensor's elements, or has a copy of those on a GPU."""
    def object(self) -> Any:
        """What a run would give for the value: an array, list, dict or None."""
    def shape(self) -> list[int]: ...
    def data_type(self) -> str: ...
    def element_type(self) -> int: ...
    def data_ptr(self) -> int: ...
    def tensor_size_in_bytes(self) -> int: ...
    def device_name(self) -> str: ...
    def has_value(self) -> bool: ...
    def is_tensor(self) -> bool: ...
    def is_tensor_sequence(self) -> bool: ...
    def is_sparse_tensor(self) -> bool: ...
    def update_inplace(self, source: Any) -> None:
        """``source``: an array, or an OrtValue of this or of the Python layer."""
    def __dlpack__(self, stream: Any = None) -> Any: ...
    def to_dlpack(self) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """AttributeError where the tensor lies on the host."""

class SessionIOBinding:
    """Inputs and outputs fixed ahead of runs; belongs to one thread at a time."""

    def __init__(self, session: Session) -> None: ...
    def bind_input(self, name: str, value: Any) -> None: ...
    def bind_output(self, name: str, device: Any = None) -> None: ...
    def bind_ortvalue_output(self, name: str, value: OrtValue) -> None: ...
    def clear_binding_inputs(self) -> None: ...
    def clear_binding_outputs(self) -> None: ...
    def run(
        self, cancel: CancelFlag | None = None, profile: Profile | None = None, wait: bool = True
    ) -> None:
        """Without ``wait``, a run on a stream of the caller's, with all outputs in the caller's
        memory on the GPU, may go on when this returns."""
    def get_outputs(self) -> list[OrtValue]: ...
