"""Profile files, in the trace event format of chrome://tracing and of onnxruntime."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..profile import Profile, trace_event, trace_events, write_events


class Profiler:
    """Collects what one session does; thread safe."""

    def __init__(self) -> None:
        self.start_ns = time.monotonic_ns()
        self.profile = Profile()
        self._loading: list[dict[str, Any]] = []

    def timed_loading(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call what makes the session."""
        begin = time.monotonic_ns()
        result = function(*args, **kwargs)
        self._loading.append(
            trace_event(
                "Session",
                "session_initialization",
                threading.get_native_id(),
                begin - self.start_ns,
                time.monotonic_ns() - begin,
            )
        )
        return result

    def write(self, prefix: str, provider: str) -> str:
        """Write all events to a new file and return its name."""
        now = time.time()
        date = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now))
        name = f"{prefix}_{date}_{int(now % 1 * 1000):03}.json"
        events = trace_events(self.profile.runs, self.start_ns, provider)
        write_events(name, self._loading + events)
        return name
