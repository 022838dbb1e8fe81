"""ONNX's own interface to runtimes (onnx.backend.base), on Onrush; needs the package onnx.

::

    import onrush.backend
    prepared = onrush.backend.prepare(model)       # an onnx.ModelProto, a path or bytes
    output, = prepared.run([x, y])                 # inputs in the model's order
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend import base

from .ort.providers import CUDA, get_available_providers
from .session import Session


class BackendRep(base.BackendRep):
    """A model that is ready to run."""

    def __init__(self, session: Session):
        self._session = session

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """All outputs, in order. Inputs: a dict by name, a sequence in order, or one array."""
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if isinstance(inputs, Mapping):
            return tuple(self._session(**inputs))
        return tuple(self._session(*inputs))


class Backend(base.Backend):
    """``device`` is "CPU", "CUDA" or "CUDA:1" and so on; other arguments are those of Session."""

    @classmethod
    def prepare(
        cls, model: onnx.ModelProto | str | os.PathLike | bytes, device: str = "CPU", **kwargs: Any
    ) -> BackendRep:
        if isinstance(model, onnx.ModelProto):
            model = model.SerializeToString()
        return BackendRep(Session(model, device=device.lower(), **kwargs))

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """The outputs of one node. outputs_info: dtype and shape of each, not needed here."""
        opset = kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        names = [name for name in node.input if name]
        if not isinstance(inputs, Mapping):
            inputs = dict(zip(names, [inputs] if isinstance(inputs, np.ndarray) else inputs))
        inputs = {name: np.asarray(value) for name, value in inputs.items()}
        declared = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in inputs.items()
        ]
        results = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", declared, results)
        opsets = [onnx.helper.make_opsetid(node.domain, opset)]
        model = onnx.helper.make_model(graph, opset_imports=opsets)
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether a model can run there, on this machine."""
        kind = device.lower().partition(":")[0]
        return kind == "cpu" or (kind == "cuda" and CUDA in get_available_providers())


is_compatible = Backend.is_compatible
prepare = Backend.prepare
run_model = Backend.run_model
run_node = Backend.run_node
supports_device = Backend.supports_device
