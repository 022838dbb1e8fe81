"""PyTorch modules on Onrush: onrush.compile(module, args), and torch.compile(backend="onrush").

Needs torch 2.6 or later with onnx and onnxscript, which torch exports with.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import ConstantArgument, OutputKind, SymIntArgument
from torch.utils import _pytree as pytree

from .errors import Error
from .session import Session


class CompiledModule:
    """A PyTorch module as it was when it was compiled; runs forward only.

    Called as the module is, with arguments of the structure of the example's. Tensors are read in
    place, on the device where they lie, and results are new tensors, without copies. Arguments
    other than tensors keep the values that they had in the example. Thread safe. ``session`` is the
    Session that does the work.
    """

    def __init__(self, program: ExportedProgram, options: Mapping[str, Any]):
        exported = torch.onnx.export(program, dynamo=True, verbose=False)
        program = exported.exported_program  # in which changes of buffers are outputs
        options = {"device": _device(program), **options}
        signature = program.graph_signature
        changed = [s.target for s in signature.output_specs if s.kind != OutputKind.USER_OUTPUT]
        if changed:
            raise Error(
                "unsupported",
                f"forward() changes {', '.join(map(str, changed))}; Onrush runs modules that "
                "change nothing: call eval() first",
            )
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "module.onnx")
            exported.save(path, external_data=True)
            self.session = Session(path, **options)  # maps the files, which outlives their names
        self._in_spec = program.call_spec.in_spec
        self._keywords = list(program.example_inputs[1])
        self._out_spec = program.call_spec.out_spec
        inputs = [s.arg for s in signature.input_specs if s.kind.name == "USER_INPUT"]
        self._given = [not isinstance(argument, ConstantArgument) for argument in inputs]
        self._outputs = [spec.arg for spec in signature.output_specs]
        self._names = [argument.name for argument in self.session.inputs]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        values, spec = pytree.tree_flatten((args, kwargs))
        if spec != self._in_spec:
            values = self._reordered(args, kwargs)
        given = (value for value, is_input in zip(values, self._given) if is_input)
        feed = {name: _readable(value) for name, value in zip(self._names, given)}
        results = iter(self.session._core.run_values(feed))
        return pytree.tree_unflatten([_result(o, results) for o in self._outputs], self._out_spec)

    def _reordered(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The leaves, with named arguments in the order of the example."""
        if set(self._keywords) == set(kwargs):
            kwargs = {name: kwargs[name] for name in self._keywords}
            values, spec = pytree.tree_flatten((args, kwargs))
            if spec == self._in_spec:
                return values
        raise Error(
            "invalid argument",
            f"the arguments must have the structure of the example's, {self._in_spec}",
        )

    def __repr__(self) -> str:
        return f"<onrush.CompiledModule {self.session!r}>"

    def _repr_html_(self) -> str:
        return self.session._repr_html_()


def compile(
    module: torch.nn.Module,
    args: torch.Tensor | Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    **options: Any,
) -> CompiledModule:
    """Export a PyTorch module and make it ready to run.

    ::

        compiled = onrush.compile(module.eval(), torch.randn(2, 3, 224, 224))
        y = compiled(torch.randn(8, 3, 224, 224))

    args, kwargs: an example of what forward() is called with; a tensor stands for a tuple of it.
    dynamic_shapes: which sizes may vary, as torch.export.export takes it. By default every size may
        that torch finds it can leave open; a size of 0 or 1 in the example stays as it is.
    options: those of onrush.Session, such as threads=4. By default the device is that of the
        module: a module on a GPU runs there, with tensors in and out that never leave it.
    """
    example = (args,) if isinstance(args, torch.Tensor) else tuple(args)
    with torch.no_grad():
        program = _exported(module, example, dict(kwargs or {}), dynamic_shapes)
        return CompiledModule(program, options)


def _exported(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any
) -> ExportedProgram:
    if dynamic_shapes is None:
        dynamic_shapes = torch.export.ShapesCollection()
        for leaf in pytree.tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor) and leaf.dim():
                dynamic_shapes[leaf] = [Dim.AUTO] * leaf.dim()
        dynamic_shapes = dynamic_shapes.dynamic_shapes(module, args, kwargs)
    return torch.export.export(module, args, kwargs, dynamic_shapes=dynamic_shapes)


def _device(program: ExportedProgram) -> str:
    """Where the module's tensors lie, and those that it was exported with."""
    tensors = [*program.state_dict.values(), *program.constants.values()]
    tensors += pytree.tree_leaves(program.example_inputs)
    on_gpu = [x for x in tensors if isinstance(x, torch.Tensor) and x.device.type == "cuda"]
    return f"cuda:{on_gpu[0].device.index}" if on_gpu else "cpu"


def _readable(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) and value.requires_grad else value


def _result(output: Any, results: Iterator[Any]) -> Any:
    if isinstance(output, ConstantArgument):
        return output.value
    tensor = torch.from_dlpack(next(results))
    return tensor.item() if isinstance(output, SymIntArgument) else tensor


class _Graph(torch.nn.Module):
    """A graph of torch.compile, some of whose inputs are constants."""

    def __init__(self, graph: torch.fx.GraphModule, constants: dict[int, torch.Tensor], count: int):
        super().__init__()
        self.graph, self.count, self.places = graph, count, list(constants)
        for place, tensor in constants.items():
            self.register_buffer(f"input_{place}", tensor.detach())

    def forward(self, *varying: Any) -> Any:
        inputs = iter(varying)
        return self.graph(
            *(
                getattr(self, f"input_{place}") if place in self.places else next(inputs)
                for place in range(self.count)
            )
        )


def backend(
    graph: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """For torch.compile(module, backend="onrush", options={"threads": 4}); forward only.

    Parameters and buffers become weights of a Session; it is made anew when they have changed.
    """
    if torch.is_grad_enabled() and any(
        isinstance(value, torch.Tensor) and value.requires_grad for value in example_inputs
    ):
        raise Error(
            "unsupported",
            "Onrush runs forward only: call the compiled module under torch.no_grad() or "
            "torch.inference_mode()",
        )
    constant = [_is_weight(value) for value in example_inputs]
    compiled: CompiledModule | None = None
    state: list[tuple[int, int]] = []

    def run(*inputs: Any) -> Any:
        nonlocal compiled, state
        weights = {i: value for i, value in enumerate(inputs) if constant[i]}
        now = [(tensor.data_ptr(), _version(tensor)) for tensor in weights.values()]
        varying = [value for i, value in enumerate(inputs) if not constant[i]]
        if compiled is None or now != state:
            compiled, state = _compile_graph(_Graph(graph, weights, len(inputs)), varying), now
        return compiled(*varying)

    def _compile_graph(module: _Graph, varying: list[Any]) -> CompiledModule:
        dynamic = tuple(
            [Dim.AUTO] * value.dim() if isinstance(value, torch.Tensor) else Dim.DYNAMIC
            for value in varying
        )
        with torch.no_grad():
            program = _exported(module, tuple(varying), {}, (dynamic,))
            return CompiledModule(program, options or {})

    return run


def _is_weight(value: Any) -> bool:
    return isinstance(value, torch.nn.Parameter) or (
        isinstance(value, torch.Tensor)
        and getattr(value, "_dynamo_static_input_type", None) is not None
    )


def _version(tensor: torch.Tensor) -> int:
    """Grows when the tensor is written to; tensors of inference mode have none."""
    return 0 if tensor.is_inference() else tensor._version
