"""Programs written for onnxruntime run on Onrush, unchanged.

    python -m onrush.shim PROGRAM ARGS...        PROGRAM: a file, or a command on the PATH
    python -m onrush.shim -m MODULE ARGS...

or ``import onrush.shim`` before anything imports onnxruntime. From then on ``import onnxruntime``,
its submodules and ``importlib.metadata.version("onnxruntime")`` answer with Onrush. Packages of an
installed onnxruntime that are Python only (quantization, tools, transformers) stay importable.

With ONRUSH_SHIM_VERIFY=1 each session also runs on the installed onnxruntime; differences of
results are logged as warnings of "onrush.verify", with a summary when the program ends.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import os
import runpy
import shutil
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

from . import ort

NAME = "onnxruntime"


# The modules that Onrush answers for, by their names here.
_MODULES = {
    NAME: "onrush.ort",
    **{
        f"{NAME}.{name}": f"onrush.ort.{name}"
        for name in (
            "capi",
            "capi._pybind_state",
            "capi.build_and_package_info",
            "capi.onnxruntime_inference_collection",
            "capi.onnxruntime_pybind11_state",
            "capi.onnxruntime_validation",
        )
    },
}


class _Loader(importlib.abc.Loader):
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        original = vars(importlib.import_module(_MODULES[module.__name__]))
        vars(module).update(
            (name, value)
            for name, value in original.items()
            if name in ("__all__", "__doc__", "__version__") or not name.startswith("__")
        )


class _Distribution(importlib.metadata.Distribution):
    """What importlib.metadata tells of onnxruntime."""

    metadata_text = (
        f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {ort.__version__}\nSummary: Onrush\n"
    )

    def read_text(self, filename: str) -> str | None:
        return self.metadata_text if filename == "METADATA" else None

    def locate_file(self, path: str | os.PathLike[str]) -> Any:
        raise FileNotFoundError(path)


class _Finder(importlib.metadata.DistributionFinder):
    answers_for = NAME

    def __init__(self) -> None:
        installed = importlib.machinery.PathFinder.find_spec(NAME)
        self._path = list(installed.submodule_search_locations or ()) if installed else []

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in _MODULES:
            return None
        spec = importlib.machinery.ModuleSpec(name, _Loader(), origin=__file__)
        spec.has_location = True
        if name == NAME:
            spec.submodule_search_locations = self._path
        elif name == f"{NAME}.capi":
            spec.submodule_search_locations = []
        return spec

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterable[importlib.metadata.Distribution]:
        if context is None or context.name is None or context.name.lower() == NAME:
            yield _Distribution()


def install() -> None:
    """Answer ``import onnxruntime`` with Onrush from now on; once is enough."""
    if any(getattr(finder, "answers_for", None) == NAME for finder in sys.meta_path):
        return
    if os.environ.get("ONRUSH_SHIM_VERIFY") == "1":
        from . import verify

        verify.install()
    for name in [name for name in sys.modules if name.split(".")[0] == NAME]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Finder())


def main(arguments: list[str]) -> None:
    """Run a program as ``python`` itself would."""
    if arguments[:1] == ["-m"] and len(arguments) > 1:
        sys.argv = arguments[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    program = arguments[0] if os.path.exists(arguments[0]) else shutil.which(arguments[0])
    if program is None:
        sys.exit(f"onrush.shim: there is no program '{arguments[0]}'")
    sys.argv = arguments
    sys.path[0] = os.path.dirname(os.path.abspath(program))
    runpy.run_path(program, run_name="__main__")


install()

if __name__ == "__main__":
    main(sys.argv[1:])
