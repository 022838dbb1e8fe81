"""Names of onnxruntime for things that Onrush does not have. They are here so that imports,
annotations and isinstance() work; making one raises NotImplemented."""

from __future__ import annotations

from typing import Any

from .errors import NotImplemented


class _Absent:
    def __init__(self, *args: Any, **kwargs: Any):
        raise NotImplemented.of(f"Onrush has no {type(self).__name__}: {type(self).__doc__}")


class AdapterFormat(_Absent):
    """LoRA adapters are not supported"""

    @staticmethod
    def read_adapter(file_path: Any) -> AdapterFormat:
        return AdapterFormat(file_path)


class LoraAdapter(_Absent):
    """LoRA adapters are not supported"""


class ModelCompiler(_Absent):
    """models are compiled when they first run, and need no ahead-of-time step"""


class ModelPackage(_Absent):
    """model packages are not supported"""


class ModelPackageComponentContext(_Absent):
    """model packages are not supported"""


class ModelPackageContext(_Absent):
    """model packages are not supported"""


class ModelPackageOptions(_Absent):
    """model packages are not supported"""


class OrtEpAssignedNode(_Absent):
    """no record is kept of the assignment of nodes to providers"""


class OrtEpAssignedSubgraph(_Absent):
    """no record is kept of the assignment of nodes to providers"""


class OrtEpContextData(_Absent):
    """EPContext data is of execution providers of others"""


class OrtEpContextDataBuffer(_Absent):
    """EPContext data is of execution providers of others"""


class OrtExternalInitializerInfo(_Absent):
    """models are not written"""


class OrtSyncStream(_Absent):
    """give a stream of your own as CUDA's option user_compute_stream"""
