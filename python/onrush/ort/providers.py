"""Execution providers: which there are, and which a session is to use."""

from __future__ import annotations

import collections.abc
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from .. import _core
from ..log import note_once
from .errors import EPFail

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

# onnxruntime falls back from these to CUDA, and they have no meaning beside it here.
_CUDA_FAMILY = {CUDA, "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"}

# onnxruntime's options of CUDA and their defaults. Those of _ACTING do what they say.
_CUDA_OPTIONS = {
    "arena_extend_strategy": "kNextPowerOfTwo",
    "cudnn_conv1d_pad_to_nc1d": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "cudnn_conv_use_max_workspace": "1",
    "device_id": "0",
    "do_copy_in_default_stream": "1",
    "enable_cuda_graph": "0",
    "enable_skip_layer_norm_strict_mode": "0",
    "fuse_conv_bias": "0",
    "gpu_external_alloc": "0",
    "gpu_external_empty_cache": "0",
    "gpu_external_free": "0",
    "gpu_mem_limit": str(2**64 - 1),
    "has_user_compute_stream": "0",
    "prefer_nhwc": "0",
    "sdpa_kernel": "0",
    "tunable_op_enable": "0",
    "tunable_op_max_tuning_duration_ms": "0",
    "tunable_op_tuning_enable": "0",
    "use_ep_level_unified_stream": "0",
    "use_tf32": "1",
    "user_compute_stream": "0",
}
_ACTING = {
    "device_id",
    "gpu_mem_limit",
    "has_user_compute_stream",
    "tunable_op_tuning_enable",
    "use_tf32",
    "user_compute_stream",
}
_TRUE = ("1", "True", "true")
_ALWAYS_SO = {"enable_cuda_graph", "prefer_nhwc"}  # whatever they are set to


def get_all_providers() -> list[str]:
    """What Onrush can be built with, in order of precedence."""
    return [CUDA, CPU]


def get_available_providers() -> list[str]:
    """What can be used here, in order of precedence: CUDA where driver, GPU and compiler are."""
    return [CPU] if _core.why_no_cuda() else [CUDA, CPU]


def check_and_normalize_provider_args(
    providers: Sequence[str | tuple[str, dict[Any, Any]]] | None,
    provider_options: Sequence[dict[Any, Any]] | None,
    available_provider_names: Sequence[str],
) -> tuple[list[str], list[dict[str, str]]]:
    """Names and options (with text values) of the providers asked for, each once.

    Options stand either in ``providers``, as (name, options), or in ``provider_options``.
    """
    if providers is None:
        return [], []
    if not isinstance(providers, collections.abc.Sequence):
        raise ValueError("'providers' should be a sequence.")
    chosen: dict[str, dict[str, str]] = {}
    for name, options in _pairs(providers, provider_options):
        if name not in available_provider_names:
            reason = f". CUDA cannot be used: {_core.why_no_cuda()}" if name == CUDA else ""
            warnings.warn(
                f"Specified provider '{name}' is not in available provider names."
                f"Available providers: '{', '.join(available_provider_names)}'{reason}",
                stacklevel=5,
            )
        if name in chosen:
            warnings.warn(f"Duplicate provider '{name}' encountered, ignoring.", stacklevel=5)
            continue
        chosen[name] = {str(key): str(value) for key, value in options.items()}
    return list(chosen), list(chosen.values())


def _pairs(providers, provider_options):
    if provider_options is not None:
        if not isinstance(provider_options, collections.abc.Sequence):
            raise ValueError("'provider_options' should be a sequence.")
        if len(providers) != len(provider_options):
            raise ValueError(
                "'providers' and 'provider_options' should be the same length if both are given."
            )
        if not all(isinstance(provider, str) for provider in providers):
            raise ValueError(
                "Only string values for 'providers' are supported if 'provider_options' is given."
            )
        if not all(isinstance(options, dict) for options in provider_options):
            raise ValueError("'provider_options' values must be dicts.")
        return list(zip(providers, provider_options))
    pairs = [(provider, {}) if isinstance(provider, str) else provider for provider in providers]
    for pair in pairs:
        if not (isinstance(pair, tuple) and [type(part) for part in pair] == [str, dict]):
            raise ValueError("'providers' values must be either strings or (string, dict) tuples.")
    return pairs


def select(providers: Sequence[str], fallback: bool = True) -> list[str]:
    """The providers that a session will have, CPU being the last resort.

    Raises EPFail where CUDA is asked for and cannot be had, if nothing else is asked for or the
    program wants no ``fallback`` to the CPU.
    """
    available = get_available_providers() if set(providers) - {CPU} else [CPU]
    chosen = [name for name in providers if name in available]
    on_gpu = [name for name in providers if name in _CUDA_FAMILY]
    if on_gpu and CUDA not in chosen and not (fallback and set(providers) - _CUDA_FAMILY):
        reason = _core.why_no_cuda() or f"Onrush runs on GPUs by the name of '{CUDA}'"
        remedy = f"add '{CPU}' to the providers" if fallback else "allow the fallback"
        raise EPFail.of(f"{on_gpu[0]} cannot be had: {reason}; {remedy} to run on the CPU instead")
    return chosen if CPU in chosen else [*chosen, CPU]


def cuda_settings(given: dict[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """All options of CUDA, those given and the others' defaults, and what they set of a
    _core.Session."""
    for name in given:
        if name in _ALWAYS_SO:
            note_once(f"CUDA's option {name!r} has no effect: Onrush always does it")
        elif name not in _ACTING:
            note_once(f"CUDA's option {name!r} has no effect in Onrush")
    options = _CUDA_OPTIONS | given
    limit, device = _number(options, "gpu_mem_limit"), _number(options, "device_id")
    if not 0 <= device < _core.cuda_device_count():
        raise EPFail.of(f"there is no GPU {device}: this process sees {_core.cuda_device_count()}")
    settings: dict[str, Any] = {
        "device": f"cuda:{device}",
        "stream": _number(options, "user_compute_stream"),
        "memory_limit": 0 if limit >= 2**63 else limit,
        "precision": "standard" if options["use_tf32"] in _TRUE else "fp32",
        "tune": options["tunable_op_tuning_enable"] in _TRUE,
    }
    options["has_user_compute_stream"] = str(int(settings["stream"] != 0))
    return options, settings


def _number(options: Mapping[str, str], name: str) -> int:
    try:
        return int(options[name])
    except ValueError:
        raise EPFail.of(f"CUDA's option {name!r} is a number, not {options[name]!r}") from None
