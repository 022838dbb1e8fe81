"""onnxruntime's extension module: its exceptions, and the classes below its interface."""

from .. import *

# These replace names above.
from ..._core import OrtValue  # type: ignore[assignment]  # isort: skip
from ..._core import Session as InferenceSession  # type: ignore[assignment]  # isort: skip
from ..devices import COrtDevice as OrtDevice  # type: ignore[assignment]
from ..errors import (
    DeviceReset,
    EngineError,
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    ModelLoadCanceled,
    ModelLoaded,
    ModelRequiresCompilation,
    NoModel,
    NoSuchFile,
    NotFound,
    NotImplemented,
    RuntimeException,
)
from ..options import SessionOptions
from ..sparse import SparseCooView, SparseCsrView
from ..values import OrtValueVector


def get_default_session_options() -> SessionOptions:
    return SessionOptions()
