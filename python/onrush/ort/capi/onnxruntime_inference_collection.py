"""The module that onnxruntime's classes in Python are written in."""

from .. import AdapterFormat, ModelCompiler, OrtDeviceVendorId, SparseTensor
from ..devices import OrtDevice
from ..io_binding import IOBinding
from ..providers import check_and_normalize_provider_args
from ..session import InferenceSession, Session
from ..values import OrtValue, copy_tensors
from . import _pybind_state as C
