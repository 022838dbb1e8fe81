"""Onrush's own interface: load a model, ask what it takes and gives, run it."""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import _core
from .profile import Profile, Step


class Argument(NamedTuple):
    """An input or output of a model, as the model declares it.

    ``type`` is ONNX's spelling, such as "tensor(float)" or "seq(tensor(int64))". ``shape`` has an
    entry for each dimension: its size, its name where the size may vary from call to call, or None
    if it has neither. It is None itself if the rank is not known or the type is no tensor.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...] | None

    @property
    def shape_text(self) -> str:
        """Such as "[N, 3, ?]"; empty if there is no shape."""
        if self.shape is None:
            return ""
        return f"[{', '.join('?' if size is None else str(size) for size in self.shape)}]"

    def __str__(self) -> str:
        return f"{self.name}: {self.type}{self.shape_text}"


class Plan(NamedTuple):
    """What was compiled for a part of the model, for all sizes that meet the guards.

    ``sizes`` are those that may vary, such as "s1: extent 2 of x"; ``guards`` are conditions on
    them, in text. ``steps`` are in order of execution.
    """

    sizes: tuple[str, ...]
    guards: tuple[str, ...]
    steps: tuple[Step, ...]


def _argument(name: str, type: str, shape: list | None) -> Argument:
    return Argument(name, type, None if shape is None else tuple(shape))


def _source(model: object) -> str | bytes:
    if isinstance(model, bytes):
        return model
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    raise TypeError(
        "a model is the path of an ONNX file or the bytes of one, as of "
        f"onnx.ModelProto.SerializeToString(), not a {type(model).__qualname__}"
    )


class Session:
    """A model, ready to run.

    ::

        session = onrush.Session("model.onnx")
        logits, = session(x=image)               # all outputs, in the model's order
        named = session.run({"x": image})        # the same as a dict

    Inputs are numpy arrays, objects with DLPack or __cuda_array_interface__ (such as torch
    tensors), numbers or nested lists; arrays with dense elements are read in place. Sequences are
    lists, maps are dicts, an empty optional is None. Results are new numpy arrays; bfloat16, float8
    and 4-bit ones have dtypes of ml_dtypes if it is installed, and are raw bits otherwise.

    If an input is an array of another library on a GPU, results stay there, as onrush.OrtValues,
    which such libraries read in place: torch.from_dlpack(result). A run comes after what the
    library's current stream was given before it, and is done when it returns.

    Several threads may run one session at once; the GIL is released meanwhile. A session does not
    survive a fork: make sessions in the child.

    Parameters
    ----------
    model: the path of an ONNX file, or the bytes of one.
    threads: how many threads share the work of one run; 0 is one for each processor at hand.
    device: "cpu", "cuda" or "cuda:N" (the GPU of that number), or "reference" for the slow and
        exact evaluator, for debugging.
    precision: to what the factors of matrix products and convolutions of fp32 are rounded; sums are
        in fp32, and inputs and outputs keep their dtypes. "standard" is "fp32" on the CPU and
        "tf32" on a GPU; "bf16" is there on both, "fp16" on a GPU.
    optimize: False compiles the graph as it stands, for debugging.
    memory_limit: bytes for weights and scratch in the memory of the device, the GPU's or the
        host's; 0 is no limit.
    cache_folder: of kernels compiled for a GPU; "" is $ONRUSH_CACHE, or else onrush in the user's
        cache folder.
    tune: on a GPU: the first run of each size measures which of several ways to compute a matrix
        product or convolution is the fastest. It takes seconds; what it finds is kept in the cache
        folder, and used from then on without asking, too.

    Raises onrush.Error for a model or a call that cannot work, saying where and why.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        *,
        threads: int = 0,
        device: str = "cpu",
        precision: str = "standard",
        optimize: bool = True,
        memory_limit: int = 0,
        cache_folder: str | os.PathLike[str] = "",
        tune: bool = False,
    ):
        self._core = _core.Session(
            _source(model),
            threads=operator.index(threads),
            device=device,
            precision=precision,
            optimization_level=int(optimize),
            memory_limit=operator.index(memory_limit),
            cache_folder=os.fspath(cache_folder),
            tune=tune,
        )
        self._profile: Profile | None = None  # of the last run that had one
        self._inputs = tuple(_argument(*described) for described in self._core.inputs)
        self._input_names = [argument.name for argument in self._inputs]
        self._outputs = tuple(_argument(*described) for described in self._core.outputs)

    @property
    def inputs(self) -> tuple[Argument, ...]:
        """What every run needs, in the model's order."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Argument, ...]:
        """What a run gives, in the model's order."""
        return self._outputs

    @property
    def metadata(self) -> dict[str, str]:
        """The model's own key-value pairs (metadata_props)."""
        return self._core.metadata

    @property
    def plans(self) -> tuple[Plan, ...]:
        """What has been compiled so far; a run makes a plan where none serves its sizes yet.

        A model whose sizes depend on values has a plan for each part.
        """
        return tuple(
            Plan(tuple(sizes), tuple(guards), tuple(Step(*step) for step in steps))
            for sizes, guards, steps in self._core.plans()
        )

    def __call__(self, *args: Any, **inputs: Any) -> list[Any]:
        """All outputs, in the model's order; inputs by position or by name."""
        if not args:
            return self._core.run(inputs)
        if len(args) > len(self._inputs):
            raise TypeError(f"the model takes {len(self._inputs)} inputs, {len(args)} were given")
        feed = dict(zip(self._input_names, args))
        for name, value in inputs.items():
            if name in feed:
                raise TypeError(f"input '{name}' was given twice")
            feed[name] = value
        return self._core.run(feed)

    def run(
        self,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        profile: Profile | None = None,
    ) -> dict[str, Any]:
        """Outputs by name: those named, or all of them. ``profile`` receives what the run does."""
        names = [output.name for output in self._outputs] if outputs is None else list(outputs)
        sink = self._sink(profile)
        return dict(zip(names, self._core.run(inputs, names, None, sink)))

    async def run_async(
        self,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        profile: Profile | None = None,
    ) -> dict[str, Any]:
        """``run`` on a thread of the event loop's pool. The run stops if the task is cancelled."""
        import asyncio  # here, because it takes as long to load as all of this module

        names = [output.name for output in self._outputs] if outputs is None else list(outputs)
        cancel = _core.CancelFlag()
        call = functools.partial(self._core.run, inputs, names, cancel, self._sink(profile))
        try:
            return dict(zip(names, await asyncio.get_running_loop().run_in_executor(None, call)))
        except asyncio.CancelledError:
            cancel.requested = True
            raise

    def _sink(self, profile: Profile | None) -> _core.Profile | None:
        if profile is None:
            return None
        self._profile = profile
        return profile._core

    def __repr__(self) -> str:
        inputs = ", ".join(map(str, self._inputs))
        outputs = ", ".join(map(str, self._outputs))
        return f"<onrush.Session ({inputs}) -> ({outputs})>"

    def _repr_html_(self) -> str:
        """Inputs, outputs and plans, with times where a run was given a Profile."""
        from . import html

        return html.session(self, self._profile)
