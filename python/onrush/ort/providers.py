"""Execution providers: which there are, and which a session is to use."""

from __future__ import annotations

import collections.abc
import warnings
from collections.abc import Sequence
from typing import Any

from .errors import EPFail

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

# onnxruntime falls back from these to CUDA, and they have no meaning beside it here.
_CUDA_FAMILY = {CUDA, "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"}


def get_all_providers() -> list[str]:
    """What Onrush can be built with, in order of precedence."""
    return [CUDA, CPU]


def get_available_providers() -> list[str]:
    """What this build can use, in order of precedence."""
    return [CPU]


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
            warnings.warn(
                f"Specified provider '{name}' is not in available provider names."
                f"Available providers: '{', '.join(available_provider_names)}'",
                stacklevel=4,
            )
        if name in chosen:
            warnings.warn(f"Duplicate provider '{name}' encountered, ignoring.", stacklevel=4)
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


def select(providers: Sequence[str]) -> list[str]:
    """The providers that a session will have, CPU being the last resort.

    Raises EPFail where nothing but CUDA is asked for and it cannot be had: a program that says so
    wants no silent run on the CPU.
    """
    if providers and _CUDA_FAMILY.issuperset(providers):
        raise EPFail.of(
            f"{providers[0]} was asked for, and this build of Onrush has no CUDA; "
            f"add '{CPU}' to the providers to run on the CPU"
        )
    available = get_available_providers()
    chosen = [name for name in providers if name in available]
    return chosen if CPU in chosen else [*chosen, CPU]
