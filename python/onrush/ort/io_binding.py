"""IOBinding: inputs and outputs fixed ahead of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import Error
from .devices import memory_device
from .values import OrtValue, OrtValueVector, onnx_type

if TYPE_CHECKING:
    from .session import Session


class IOBinding:
    """Memory for a session's inputs and outputs; made by InferenceSession.io_binding().

    What is bound stays bound from run to run. Input arrays are read at each run, so that their
    elements may change in between.
    """

    def __init__(self, session: Session):
        self._session = session._sess
        self._device = session._device
        self._input_names = {arg.name for arg in session.get_inputs()}
        self._input_names.update(arg.name for arg in session.get_overridable_initializers())
        self._iobinding = _core.SessionIOBinding(session._sess)
        self._buffers: set[str] = set()  # outputs with memory of the caller's
        self._names: list[str] = []  # of outputs, in the order of binding

    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray) -> None:
        """Bind an array, whose elements are shared if they are dense."""
        self._bind_input(name, arr_on_cpu)

    def bind_input(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: Any,
        shape: Sequence[int],
        buffer_ptr: int,
    ) -> None:
        """Bind memory by its address; element_type is a numpy type or an ONNX number."""
        self._bind_input(
            name,
            _core.OrtValue.from_pointer(
                buffer_ptr,
                list(shape),
                onnx_type(element_type),
                memory_device(device_type, device_id),
            ),
        )

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        self._bind_input(name, ortvalue._ortvalue)

    def _bind_input(self, name: str, value: Any) -> None:
        if name not in self._input_names:
            raise RuntimeError(f"Failed to find NodeArg with name: {name} in the def list")
        try:
            self._iobinding.bind_input(name, value)
        except Error as error:
            raise RuntimeError(str(error)) from None

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Bind an output to memory at buffer_ptr, or to new memory at each run."""
        device = memory_device(device_type, device_id)
        if buffer_ptr is None:
            self._note_output(name, buffer=False)
            self._iobinding.bind_output(name, device)
            return
        if element_type is None or shape is None:
            raise ValueError(
                "`element_type` and `shape` are to be provided if pre-allocated memory is provided"
            )
        value = _core.OrtValue.from_pointer(
            buffer_ptr, list(shape), onnx_type(element_type), device
        )
        self._bind_buffer(name, value)

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        self._bind_buffer(name, ortvalue._ortvalue)

    def _bind_buffer(self, name: str, value: _core.OrtValue) -> None:
        self._iobinding.bind_ortvalue_output(name, value)
        self._note_output(name, buffer=True)

    def _note_output(self, name: str, buffer: bool) -> None:
        if name not in self._names:
            self._names.append(name)
        (self._buffers.add if buffer else self._buffers.discard)(name)

    def synchronize_inputs(self) -> None:
        """Wait for all work on the session's GPU, such as what writes inputs."""
        _core.synchronize(self._device)

    def synchronize_outputs(self) -> None:
        """Wait for all work on the session's GPU; outputs are there when a run returns."""
        _core.synchronize(self._device)

    def get_outputs(self) -> list[OrtValue]:
        """The results of the last run, in the order of binding; no copies."""
        return [OrtValue(value) for value in self._iobinding.get_outputs()]

    def get_outputs_as_ortvaluevector(self) -> OrtValueVector:
        return OrtValueVector(self._iobinding.get_outputs())

    def copy_outputs_to_cpu(self) -> list[Any]:
        """The results of the last run as numpy arrays, which later runs leave alone."""
        results = [value.object() for value in self._iobinding.get_outputs()]
        return [r.copy() if name in self._buffers else r for name, r in zip(self._names, results)]

    def clear_binding_inputs(self) -> None:
        self._iobinding.clear_binding_inputs()

    def clear_binding_outputs(self) -> None:
        self._iobinding.clear_binding_outputs()
        self._buffers.clear()
        self._names.clear()
