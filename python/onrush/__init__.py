"""Onrush runs ONNX models.

``onrush.Session`` is the interface to write new programs with. Beside it stands everything that
``import onnxruntime`` offers, under the same names; see onrush.ort, and onrush.shim for programs
that are not to be changed.
"""

from typing import TYPE_CHECKING, Any

from . import ort
from ._core import version as __version__
from .errors import Error
from .ort import *  # noqa: F403
from .profile import Profile
from .session import Argument, Session

__all__ = ["Argument", "Error", "Profile", "Session", "__version__"]
__all__ += ort.__all__

if TYPE_CHECKING:
    from . import backend, torch  # noqa: F401
    from .torch import compile  # noqa: F401
else:

    def __getattr__(name: str) -> Any:
        """What needs onnx or torch, which take long to load, is loaded when it is asked for."""
        import importlib

        if name == "compile":
            try:
                return importlib.import_module(".torch", __name__).compile
            except ModuleNotFoundError as error:
                error.msg += "; onrush.compile needs it: pip install 'onrush[torch]'"
                raise
        if name in ("backend", "torch"):
            return importlib.import_module(f".{name}", __name__)
        raise AttributeError(f"module 'onrush' has no attribute {name!r}")
