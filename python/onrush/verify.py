"""ONRUSH_SHIM_VERIFY=1: the installed onnxruntime runs beside Onrush, and results are compared."""

from __future__ import annotations

import atexit
import importlib
import logging
import sys
from typing import Any

import numpy as np

from . import ort
from .ort.session import InferenceSession

logger = logging.getLogger("onrush.verify")

# Largest difference that rounding explains, relative to the largest magnitude in the array.
TOLERANCE = 1e-3

_runs = _differences = 0


def difference(ours: Any, theirs: Any) -> str | None:
    """How two results of a run differ; None if they agree."""
    if isinstance(theirs, list):
        if not isinstance(ours, list) or len(ours) != len(theirs):
            return f"{ours!r:.60} instead of {len(theirs)} values"
        found = [difference(a, b) for a, b in zip(ours, theirs)]
        return next((f"element {i}: {text}" for i, text in enumerate(found) if text), None)
    if isinstance(theirs, dict):
        if not isinstance(ours, dict) or list(ours) != list(theirs):
            return f"{ours!r:.60} instead of {theirs!r:.60}"
        return difference(list(ours.values()), list(theirs.values()))
    if theirs is None or ours is None:
        return None if ours is theirs else f"{ours!r:.60} instead of {theirs!r:.60}"
    a, b = np.asarray(ours), np.asarray(theirs)
    if a.dtype != b.dtype or a.shape != b.shape:
        return f"{a.dtype}{list(a.shape)} instead of {b.dtype}{list(b.shape)}"
    if b.dtype.kind not in "fc":
        count = int(np.count_nonzero(a != b))
        return f"{count} of {b.size} elements differ" if count else None
    with np.errstate(all="ignore"):
        apart = np.abs(a.astype(np.complex128) - b.astype(np.complex128))
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        worst = float(np.max(np.where(same, 0, np.nan_to_num(apart, nan=np.inf)), initial=0))
        scale = float(np.max(np.abs(b), initial=0, where=np.isfinite(b)))
    return (
        f"off by {worst:.3g} where the largest is {scale:.3g}"
        if worst > TOLERANCE * max(scale, 1e-3)
        else None
    )


class VerifyingSession(InferenceSession):
    """Runs each model twice and gives Onrush's results."""

    _reference: Any = None  # the installed onnxruntime

    def _create_inference_session(self, providers: Any, provider_options: Any) -> None:
        super()._create_inference_session(providers, provider_options)
        model = self._model_path if self._model_bytes is None else self._model_bytes
        self._theirs = self._reference.InferenceSession(model, providers=["CPUExecutionProvider"])

    def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> list[Any]:
        global _runs, _differences
        ours = super().run(output_names, input_feed, run_options)
        names = output_names or [output.name for output in self.get_outputs()]
        theirs = self._theirs.run(names, input_feed)
        _runs += 1
        for name, a, b in zip(names, ours, theirs):
            if text := difference(a, b):
                _differences += 1
                logger.warning("%s: output '%s': %s", self._model_path or "model", name, text)
        return ours


def _summary() -> None:
    print(f"onrush.verify: {_runs} runs compared, {_differences} outputs differ", file=sys.stderr)


def install() -> None:
    """Put VerifyingSession in InferenceSession's place. The installed onnxruntime is loaded now,
    before its name comes to stand for Onrush."""
    VerifyingSession._reference = importlib.import_module("onnxruntime")
    VerifyingSession.__name__ = VerifyingSession.__qualname__ = "InferenceSession"
    ort.InferenceSession = VerifyingSession  # type: ignore[misc]
    atexit.register(_summary)
