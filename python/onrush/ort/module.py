"""onnxruntime's functions at module level."""

from __future__ import annotations

import logging
import platform
from typing import Any

from .. import _core
from ..log import logger, note_once
from .devices import CPU_DEVICE, OrtEpDevice, gpu_device
from .errors import Fail

# The release of onnxruntime whose interface this is.
ORT_VERSION = "1.32.0"

_LEVELS = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]


def get_version_string() -> str:
    return ORT_VERSION


def get_build_info() -> str:
    return f"Onrush Build Info: version={_core.version}, build type=Release"


def get_device() -> str:
    """ "GPU" where sessions can run on one, else "CPU"."""
    return "CPU" if _core.why_no_cuda() else "GPU"


def get_ep_devices() -> list[OrtEpDevice]:
    count = 0 if _core.why_no_cuda() else _core.cuda_device_count()
    return [CPU_DEVICE, *map(gpu_device, range(count))]


def has_collective_ops() -> bool:
    return False


def set_default_logger_severity(severity: int, /) -> None:
    """0: verbose, 1: info, 2: warning, 3: error, 4: fatal; the level of the logger "onrush"."""
    if not 0 <= severity <= 4:
        raise RuntimeError(
            "Invalid logging severity. 0:Verbose, 1:Info, 2:Warning, 3:Error, 4:Fatal"
        )
    logger.setLevel(_LEVELS[severity])


def set_default_logger_verbosity(verbosity: int, /) -> None:
    note_once("set_default_logger_verbosity has no effect in Onrush")


def set_default_logger_callback(callback: Any, severity: int = 2) -> None:
    note_once("set_default_logger_callback has no effect; Onrush logs to Python's logger 'onrush'")


def set_seed(seed: int, /) -> None:
    note_once("set_seed has no effect in Onrush; give random operators a seed in the model")


def set_global_thread_pool_sizes(
    intra_op_num_threads: int = 0, inter_op_num_threads: int = 0
) -> None:
    note_once(
        "set_global_thread_pool_sizes has no effect in Onrush; sessions have their own threads"
    )


def create_and_register_allocator(memory_info: Any, arena_cfg: Any, /) -> None:
    note_once("registered allocators have no effect in Onrush")


def create_and_register_allocator_v2(
    provider: str, memory_info: Any, options: Any, arena_cfg: Any, /
) -> None:
    note_once("registered allocators have no effect in Onrush")


def enable_telemetry_events() -> None:
    """Onrush sends nothing."""


def disable_telemetry_events() -> None:
    """Onrush sends nothing."""


def register_execution_provider_library(name: str, path: str, /) -> None:
    raise Fail.of(f"'{name}' at {path}: Onrush takes no execution providers of others")


def unregister_execution_provider_library(name: str, /) -> None:
    raise Fail.of(f"no execution provider library is registered as '{name}'")


def preload_dlls(
    cuda: bool = True, cudnn: bool = True, msvc: bool = True, directory: Any = None
) -> None:
    """Nothing is to be done: Onrush finds libraries when it needs them."""


def print_debug_info() -> None:
    """Print versions of Onrush, Python and numpy, and whether GPUs can be used."""
    import numpy

    print(f"onrush version: {_core.version}, with the interface of onnxruntime {ORT_VERSION}")
    print("platform:", platform.platform())
    print(f"python {platform.python_version()}, numpy {numpy.__version__}, module {_core.__file__}")
    print("GPUs:", _core.why_no_cuda() or _core.cuda_device_count())
