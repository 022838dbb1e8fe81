"""Profile files, in the trace event format of chrome://tracing and of onnxruntime."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any


class Profiler:
    """Collects events of one session; thread safe."""

    def __init__(self) -> None:
        self.start_ns = time.monotonic_ns()
        self._events: list[dict[str, Any]] = []

    def timed(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        begin = time.monotonic_ns()
        try:
            return function(*args, **kwargs)
        finally:
            self._events.append(
                {
                    "cat": "Session",
                    "pid": os.getpid(),
                    "tid": threading.get_native_id(),
                    "dur": (time.monotonic_ns() - begin) // 1000,
                    "ts": (begin - self.start_ns) // 1000,
                    "ph": "X",
                    "name": name,
                    "args": {},
                }
            )

    def write(self, prefix: str) -> str:
        """Write the events to a new file and return its name."""
        now = time.time()
        date = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now))
        name = f"{prefix}_{date}_{int(now % 1 * 1000):03}.json"
        with open(name, "w") as file:
            file.write("[\n" + ",\n".join(json.dumps(event) for event in self._events) + "\n]\n")
        return name
