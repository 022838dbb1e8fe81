"""InferenceSession."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import _core
from ..errors import Error
from ..log import note_once
from . import providers as ep
from .devices import (
    CPU_DEVICE,
    CPU_MEMORY,
    COrtDevice,
    OrtDevice,
    OrtEpDevice,
    OrtMemoryInfo,
    gpu_device,
    gpu_memory,
)
from .enums import GraphOptimizationLevel
from .errors import Fail, load_error, run_error
from .io_binding import IOBinding
from .metadata import ModelMetadata, NodeArg
from .options import RunOptions, SessionOptions
from .profiling import Profiler
from .values import OrtValue


class Session:
    """What can be done with a loaded model. ``_sess`` is the _core.Session that does it."""

    _inputs_meta: list[NodeArg]
    _outputs_meta: list[NodeArg]
    _overridable_initializers: list[NodeArg]
    _model_meta: ModelMetadata
    _sess_options: SessionOptions
    _memory: OrtMemoryInfo  # where runs take place
    _device: COrtDevice  # the same
    _providers: list[str]
    _provider_options: dict[str, dict[str, str]]
    _profiler: Profiler | None
    _profile: _core.Profile | None  # of the profiler
    _profiling_start_time_ns: int

    def __init__(self, enable_fallback: bool = True):
        self._sess: Any = None
        self._enable_fallback = enable_fallback

    def get_session_options(self) -> SessionOptions:
        return self._sess_options

    def get_inputs(self) -> list[NodeArg]:
        """What every run needs."""
        return self._inputs_meta

    def get_outputs(self) -> list[NodeArg]:
        """What a run gives."""
        return self._outputs_meta

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Inputs that have a default and may be left out."""
        return self._overridable_initializers

    def get_modelmeta(self) -> ModelMetadata:
        return self._model_meta

    def get_input_memory_infos(self) -> list[OrtMemoryInfo]:
        return [self._memory] * len(self._inputs_meta)

    def get_output_memory_infos(self) -> list[OrtMemoryInfo]:
        return [self._memory] * len(self._outputs_meta)

    def get_input_epdevices(self) -> list[OrtEpDevice]:
        on_gpu = self._memory is not CPU_MEMORY
        device = gpu_device(self._memory.device_id) if on_gpu else CPU_DEVICE
        return [device] * len(self._inputs_meta)

    def get_providers(self) -> list[str]:
        """The providers in use, in order of precedence."""
        return list(self._providers)

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {name: dict(options) for name, options in self._provider_options.items()}

    def get_provider_graph_assignment_info(self) -> list[Any]:
        raise Fail.of("Onrush keeps no record of the assignment of nodes to providers")

    def set_providers(self, providers=None, provider_options=None) -> None:
        """Load the model again for other providers."""
        self._create_inference_session(providers, provider_options)

    def _create_inference_session(self, providers: Any, provider_options: Any) -> None:
        raise NotImplementedError

    def disable_fallback(self) -> None:
        self._enable_fallback = False

    def enable_fallback(self) -> None:
        self._enable_fallback = True

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: RunOptions | None = None,
    ) -> list[Any]:
        """The values of the outputs named, or of all of them if none is.

        Values are numpy arrays; lists for sequences, dicts for maps, None for an empty optional.
        Inputs may also be OrtValues, objects with DLPack, numbers and nested lists. If one is an
        array of another library on a GPU, results are OrtValues on that GPU, which such libraries
        read by DLPack.
        """
        try:
            cancel = None if run_options is None else _cancel_flag(run_options)
            return self._sess.run(input_feed, output_names, cancel, self._profile)
        except Error as error:
            raise self._run_error(error, input_feed) from None

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        callback: Callable[[list[Any], Any, str], None],
        user_data: Any,
        run_options: RunOptions | None = None,
    ) -> None:
        """``run`` on a thread of its own, which then calls callback(results, user_data, error).

        ``error`` is "" if all went well; otherwise ``results`` is empty.
        """
        self._check_inputs(input_feed)
        feed = dict(input_feed)

        def work() -> None:
            try:
                results, error = self.run(output_names, feed, run_options), ""
            except Exception as exception:  # whatever it is, the callback is told
                results, error = [], str(exception)
            callback(results, user_data, error)

        threading.Thread(target=work, name="onrush-run-async", daemon=True).start()

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: RunOptions | None = None,
    ) -> list[OrtValue]:
        """``run`` with OrtValues in and out."""
        feed = {name: value._get_c_value() for name, value in input_dict_ort_values.items()}
        try:
            results = self._sess.run_values(
                feed, output_names, _cancel_flag(run_options), self._profile
            )
        except Error as error:
            raise self._run_error(error, feed) from None
        return [OrtValue(value) for value in results]

    def run_with_iobinding(
        self, iobinding: IOBinding, run_options: RunOptions | None = None
    ) -> None:
        """Run with the inputs and outputs that are bound.

        On a user_compute_stream, with all outputs in memory of the GPU that is bound, the run
        config "disable_synchronize_execution_providers" = "1" lets this return before it is done.
        """
        if iobinding._session is not self._sess:
            raise ValueError("IOBinding must be used with the session that created it.")
        try:
            if run_options is None:
                iobinding._iobinding.run(None, self._profile)
            else:
                cancel = _cancel_flag(run_options)
                iobinding._iobinding.run(cancel, self._profile, run_options._waits)
        except Error as error:
            raise RuntimeError(f"Error in execution: {error}") from None

    def run_with_ortvaluevector(
        self, run_options, feed_names, feeds, fetch_names, fetches, fetch_devices
    ) -> None:
        """Run with vectors of the extension module's OrtValues; results are appended to fetches."""
        try:
            fetches[:] = self._sess.run_values(
                dict(zip(feed_names, feeds)),
                list(fetch_names),
                _cancel_flag(run_options),
                self._profile,
            )
        except Error as error:
            raise run_error(error) from None

    def io_binding(self) -> IOBinding:
        return IOBinding(self)

    def create_ortvalue_from_shape_and_type(
        self,
        shape: Sequence[int],
        element_type: Any,
        device_type: str,
        device_id: int = 0,
        vendor_id: int = -1,
    ) -> OrtValue:
        return OrtValue.ortvalue_from_shape_and_type(
            shape, element_type, device_type, device_id, vendor_id
        )

    def end_profiling(self) -> str:
        """Write the profile and return the file's name; "" if profiling is not enabled."""
        profiler, self._profiler, self._profile = self._profiler, None, None
        if profiler is None:
            return ""
        return profiler.write(self._sess_options.profile_file_prefix, self._providers[0])

    def get_profiling_start_time_ns(self) -> int:
        """Comparable with time.monotonic_ns(); 0 if profiling is not enabled."""
        return self._profiling_start_time_ns

    def release_captured_graph(self, graph_annotation_id: int = 0) -> None:
        note_once("release_captured_graph has no effect: Onrush updates its graphs")

    def set_ep_dynamic_options(self, options: dict[str, str]) -> None:
        for name in options:
            note_once(f"dynamic option {name!r} of an execution provider has no effect in Onrush")

    def get_tuning_results(self) -> list[Any]:
        return []

    def set_tuning_results(self, results: list[Any], *, error_on_invalid: bool = False) -> None:
        note_once("tuning results of onnxruntime have no effect in Onrush")

    def _check_inputs(self, feed: Mapping[str, Any]) -> None:
        given = list(feed.keys())
        missing = [
            arg.name
            for arg in self._inputs_meta
            if arg.name not in given and not arg.type.startswith("optional")
        ]
        if missing:
            raise ValueError(f"Required inputs ({missing}) are missing from input feed ({given}).")

    def _run_error(self, error: Error, feed: Mapping[str, Any]) -> Exception:
        try:
            self._check_inputs(feed)
        except ValueError as missing:
            return missing
        return run_error(error)


class InferenceSession(Session):
    """A model, ready to run; onnxruntime's interface. See onrush.Session for Onrush's own.

    path_or_bytes: an ONNX file's path, or its content.
    providers: names or (name, options) in order of precedence; see get_available_providers().
    provider_options: the options of each, if they are not given in ``providers``.
    """

    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike,
        sess_options: SessionOptions | None = None,
        providers: Sequence[str | tuple[str, dict[Any, Any]]] | None = None,
        provider_options: Sequence[dict[Any, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(enable_fallback=int(kwargs.get("enable_fallback", 1)) == 1)
        if isinstance(path_or_bytes, (str, os.PathLike)):
            self._model_path, self._model_bytes = os.fspath(path_or_bytes), None
            if not self._model_path:
                raise TypeError("the path of the model is empty; give the name of a file")
        elif isinstance(path_or_bytes, bytes):
            self._model_path, self._model_bytes = None, path_or_bytes
        else:
            raise TypeError(f"Unable to load from type '{type(path_or_bytes)}'")
        if sess_options is not None and not isinstance(sess_options, SessionOptions):
            raise TypeError(f"sess_options must be a SessionOptions, not {sess_options!r}")
        self._sess_options = sess_options or SessionOptions()
        self._create_inference_session(providers, provider_options)

    def _create_inference_session(self, providers, provider_options) -> None:
        options = self._sess_options
        if not providers and options.has_providers():
            providers = options._providers
        names, given = self._normalized(providers, provider_options)
        self._providers = ep.select(names, options._falls_back)
        self._provider_options = {name: {} for name in self._providers}
        settings: dict[str, Any] = {"device": "cpu"}
        if ep.CUDA in self._providers:
            self._provider_options[ep.CUDA], on_gpu = ep.cuda_settings(
                dict(zip(names, given))[ep.CUDA]
            )
            if self._providers[0] == ep.CUDA:
                settings = on_gpu
        self._profiler = Profiler() if options.enable_profiling else None
        self._profile = self._profiler.profile._core if self._profiler else None
        self._profiling_start_time_ns = self._profiler.start_ns if self._profiler else 0
        self._load(settings)
        self._inputs_meta = [NodeArg._of(*described) for described in self._sess.inputs]
        self._outputs_meta = [NodeArg._of(*described) for described in self._sess.outputs]
        self._overridable_initializers = [
            NodeArg._of(*described) for described in self._sess.overridable_initializers
        ]
        info = self._sess.model_info
        info["version"] = info["version"] or 2**63 - 1  # onnxruntime's value for "not stated"
        self._model_meta = ModelMetadata(**info, custom_metadata_map=self._sess.metadata)
        if options.optimized_model_filepath:
            self._write_model(options.optimized_model_filepath)

    def _normalized(
        self, providers: Any, provider_options: Any
    ) -> tuple[list[str], list[dict[str, str]]]:
        try:
            available = ep.get_available_providers() if providers else [ep.CPU]
            return ep.check_and_normalize_provider_args(providers, provider_options, available)
        except ValueError as error:
            if not self._enable_fallback:
                raise
            warnings.warn(f"{error} Falling back to {ep.CPU}.", stacklevel=4)
            return [], []

    def _load(self, settings: dict[str, Any]) -> None:
        """``settings``: what the providers say."""
        options = self._sess_options
        settings = {
            "threads": max(options.intra_op_num_threads, 0),
            "optimization_level": int(
                options.graph_optimization_level != GraphOptimizationLevel.ORT_DISABLE_ALL
            ),
            "dims": options._dims,
            "initializers": options._initializers,
            **settings,
        }
        for name in ("device", "precision"):
            if f"onrush.{name}" in options._config:
                settings[name] = options._config[f"onrush.{name}"]
        if "onrush.tune" in options._config:
            settings["tune"] = options._config["onrush.tune"] == "1"
        kind, _, number = settings["device"].partition(":")
        on_gpu = kind == "cuda"
        self._memory = gpu_memory(int(number or 0)) if on_gpu else CPU_MEMORY
        self._device = OrtDevice.make(kind if on_gpu else "cpu", int(number or 0))._get_c_device()
        model = self._model_path if self._model_bytes is None else self._model_bytes
        load: Any = _core.Session
        if self._profiler:
            load = functools.partial(self._profiler.timed_loading, load)
        try:
            self._sess = load(model, **settings)
        except Error as error:
            raise load_error(error) from None

    def _write_model(self, path: str) -> None:
        note_once("the file at optimized_model_filepath holds the model as it was given")
        model = self._model_bytes
        if model is None:
            with open(self._model_path, "rb") as file:
                model = file.read()
        with open(path, "wb") as file:
            file.write(model)


def _cancel_flag(run_options: RunOptions | None) -> _core.CancelFlag | None:
    if run_options is None:
        return None
    if not isinstance(run_options, RunOptions):
        raise TypeError(f"run_options must be a RunOptions, not {run_options!r}")
    return run_options._cancel
