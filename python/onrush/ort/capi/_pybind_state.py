"""Another name of the extension module."""

from .onnxruntime_pybind11_state import *
