"""SessionOptions and RunOptions."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from .. import _core
from ..log import note_once
from .enums import ExecutionMode, ExecutionOrder, GraphOptimizationLevel
from .errors import Fail, NotImplemented
from .values import OrtValue


class _Field:
    """An attribute of one type, which assignments must have."""

    def __init__(self, type_: type, default: Any, doc: str, effect: bool = True):
        self.type, self.default, self.effect = type_, default, effect
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name, self.slot = name, "_" + name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else getattr(instance, self.slot, self.default)

    def __set__(self, instance: Any, value: Any) -> None:
        if self.type is int:
            value = operator.index(value)
        elif self.type is bool:
            value = bool(value)
        elif not isinstance(value, self.type):
            raise TypeError(f"{self.name} must be a {self.type.__name__}, not {value!r}")
        if not self.effect and value != self.default:
            note_once(f"{type(instance).__name__}.{self.name} has no effect in Onrush")
        object.__setattr__(instance, self.slot, value)


class _Options:
    """Named fields, and config entries that are text."""

    _config: dict[str, str]

    def __init__(self) -> None:
        object.__setattr__(self, "_config", {})

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(getattr(type(self), name, None), (_Field, property)):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        object.__setattr__(self, name, value)

    def _add_entry(self, key: str, value: str) -> None:
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"config entries are text, not {key!r}: {value!r}")
        if not 0 < len(key) <= 1024:
            raise RuntimeError("Config key is empty or longer than maximum length 1024")
        self._config[key] = value

    def _get_entry(self, key: str) -> str:
        if key not in self._config:
            raise RuntimeError(f"{type(self).__name__} does not have configuration with key: {key}")
        return self._config[key]


class SessionOptions(_Options):
    """How a session is made. Of onnxruntime's config entries "session.disable_cpu_ep_fallback" has
    an effect, the others are accepted. "onrush.device", "onrush.precision" and "onrush.tune" ("1")
    are Onrush's own, as in onrush.Session."""

    enable_cpu_mem_arena = _Field(bool, True, "Enable memory arena on CPU.", effect=False)
    enable_mem_pattern = _Field(bool, True, "Enable the memory pattern optimization.", effect=False)
    enable_mem_reuse = _Field(bool, True, "Enable the memory reuse optimization.", effect=False)
    enable_profiling = _Field(bool, False, "Write a profile file.")
    execution_mode = _Field(
        ExecutionMode, ExecutionMode.ORT_SEQUENTIAL, "Order of nodes.", effect=False
    )
    execution_order = _Field(
        ExecutionOrder, ExecutionOrder.DEFAULT, "Order of nodes.", effect=False
    )
    graph_optimization_level = _Field(
        GraphOptimizationLevel, GraphOptimizationLevel.ORT_ENABLE_ALL, "All or nothing."
    )
    inter_op_num_threads = _Field(int, 0, "Threads across nodes.", effect=False)
    intra_op_num_threads = _Field(int, 0, "Threads that share a run; 0: one a processor.")
    log_severity_level = _Field(int, -1, "Least severity that is logged.", effect=False)
    log_verbosity_level = _Field(int, 0, "Detail of debug messages.", effect=False)
    logid = _Field(str, "", "Name in log messages.", effect=False)
    optimized_model_filepath = _Field(str, "", "Where to write the model.")
    profile_file_prefix = _Field(
        str, "onnxruntime_profile_", "Beginning of the profile's file name."
    )
    use_deterministic_compute = _Field(bool, False, "Onrush's runs always are.", effect=False)
    use_per_session_threads = _Field(bool, True, "Threads of the session's own.", effect=False)

    _dims: dict[str, int]
    _initializers: dict[str, OrtValue]
    _providers: list[tuple[str, dict[str, str]]]

    def __init__(self) -> None:
        super().__init__()
        self.__dict__.update(_dims={}, _initializers={}, _providers=[])

    @property
    def _falls_back(self) -> bool:
        """Whether the CPU will do where a GPU was asked for."""
        return self._config.get("session.disable_cpu_ep_fallback") != "1"

    def add_session_config_entry(self, key: str, value: str, /) -> None:
        self._add_entry(key, value)
        if not key.startswith("onrush.") and key != "session.disable_cpu_ep_fallback":
            note_once(f"session config entry {key!r} has no effect in Onrush")

    def get_session_config_entry(self, key: str, /) -> str:
        return self._get_entry(key)

    def add_free_dimension_override_by_name(self, name: str, size: int, /) -> None:
        """Fix the dimensions of this name in the model's inputs."""
        self._dims[name] = operator.index(size)

    def add_free_dimension_override_by_denotation(self, denotation: str, size: int, /) -> None:
        note_once("dimension overrides by denotation have no effect in Onrush")

    def add_initializer(self, name: str, value: OrtValue, /) -> None:
        """Use ``value`` in place of the model's initializer; its memory is shared."""
        if not isinstance(value, OrtValue):
            raise RuntimeError("The provided Python object must be an OrtValue")
        self._initializers[name] = value

    def add_external_initializers(self, names: list[str], values: list[OrtValue], /) -> None:
        for name, value in zip(names, values, strict=True):
            self.add_initializer(name, value)

    def add_external_initializers_from_files_in_memory(
        self, names: Sequence[str], buffers: Sequence[Any], lengths: Sequence[int], /
    ) -> None:
        raise NotImplemented.of("external data in memory; give the model's path instead")

    def add_provider(self, name: str, options: Mapping[str, str], /) -> None:
        self._providers.append((name, dict(options)))

    def add_provider_for_devices(
        self, devices: Sequence[Any], options: Mapping[str, str], /
    ) -> None:
        self._providers.append((devices[0].ep_name, dict(options)))

    def has_providers(self) -> bool:
        return bool(self._providers)

    def set_provider_selection_policy(self, policy: Any, /) -> None:
        note_once("provider selection policies have no effect in Onrush")

    def set_provider_selection_policy_delegate(self, delegate: Any, /) -> None:
        note_once("provider selection policies have no effect in Onrush")

    def register_custom_ops_library(self, path: str, /) -> None:
        raise Fail.of(f"Failed to load library {path}: Onrush has no custom operators")

    def set_ep_context_data_read_func(self, read_func: Any, max_data_size: int = 0) -> None:
        note_once("EPContext data has no effect in Onrush")

    def clear_ep_context_data_read_func(self) -> None:
        pass

    def set_load_cancellation_flag(self, cancel: bool, /) -> None:
        note_once("set_load_cancellation_flag has no effect in Onrush")


class RunOptions(_Options):
    """How one run goes; may be used by several runs at once."""

    log_severity_level = _Field(int, -1, "Least severity that is logged.", effect=False)
    log_verbosity_level = _Field(int, 0, "Detail of debug messages.", effect=False)
    logid = _Field(str, "", "Name in log messages.", effect=False)
    only_execute_path_to_fetches = _Field(bool, False, "Onrush always does.", effect=False)

    _cancel: _core.CancelFlag

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["_cancel"] = _core.CancelFlag()

    @property
    def terminate(self) -> bool:
        """True stops the runs that use these options, and lets none start."""
        return self._cancel.requested

    @terminate.setter
    def terminate(self, value: bool) -> None:
        self._cancel.requested = bool(value)

    @property
    def _waits(self) -> bool:
        return self._config.get("disable_synchronize_execution_providers") != "1"

    def add_run_config_entry(self, key: str, value: str, /) -> None:
        self._add_entry(key, value)
        if key != "disable_synchronize_execution_providers":
            note_once(f"run config entry {key!r} has no effect in Onrush")

    def get_run_config_entry(self, key: str, /) -> str:
        return self._get_entry(key)

    def add_active_adapter(self, adapter: Any, /) -> None:
        raise NotImplemented.of("LoRA adapters")
