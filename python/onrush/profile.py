"""Where the time of runs goes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from . import _core


class Step(NamedTuple):
    """A piece of work that every run of a plan does: one kernel, mostly.

    ``kind`` is "pointwise", "reduction", "window", "contraction" or "concat" for a kernel of that
    form, "primitive" for a sort, scan or the like by a GPU's kernels, "loop" for a plan that runs
    once a trip, "host" for a primitive that is evaluated by itself, "graph" for all of a plan on
    the device "reference", "compile" where a plan is made and "bind" where one is given new sizes.
    ``name`` lists its primitives, as in "dot+add+max"; ``nodes`` the ONNX nodes that it computes.
    """

    kind: str
    name: str
    nodes: tuple[str, ...]


class Event(NamedTuple):
    """One execution of a step. Nanoseconds; ``start_ns`` is comparable to time.monotonic_ns()."""

    step: Step
    start_ns: int
    duration_ns: int


class Run(NamedTuple):
    """One run and its events, in order. ``thread`` is threading.get_native_id() of the caller."""

    thread: int
    start_ns: int
    duration_ns: int
    events: tuple[Event, ...]

    @property
    def rest_ns(self) -> int:
        """What is spent between steps: checking inputs, finding the plan, passing on outputs."""
        return self.duration_ns - sum(event.duration_ns for event in self.events)


class StepTime(NamedTuple):
    """A step over all runs of a profile: how often it ran, and for how many nanoseconds in all."""

    step: Step
    executions: int
    total_ns: int


class Profile:
    """Collects what runs do and when; to be passed to any number of them, from any thread.

    ::

        profile = onrush.Profile()
        for _ in range(20):
            session.run(inputs, profile=profile)
        print(profile)                     # a table of the steps, the longest first
        profile.write_trace("trace.json")  # for chrome://tracing or Perfetto

    In a notebook a profile shows itself as a table. Steps on a GPU are not told apart yet.
    """

    def __init__(self) -> None:
        self._core = _core.Profile()

    @property
    def runs(self) -> list[Run]:
        """The runs so far, in the order in which they ended."""
        return [
            Run(
                thread,
                start,
                duration,
                tuple(Event(Step(*step), begin, length) for step, begin, length in events),
            )
            for thread, start, duration, events in self._core.runs()
        ]

    def steps(self) -> list[StepTime]:
        """Every step that ran, those that took longest in all first."""
        times: dict[Step, list[int]] = {}
        for run in self.runs:
            for step, _, duration in run.events:
                times.setdefault(step, []).append(duration)
        found = [StepTime(step, len(each), sum(each)) for step, each in times.items()]
        return sorted(found, key=lambda time: -time.total_ns)

    def write_trace(self, path: str | os.PathLike[str]) -> None:
        """Write all runs in the trace event format."""
        runs = self.runs
        epoch = min((run.start_ns for run in runs), default=0)
        write_events(path, trace_events(runs, epoch))

    def rows(self) -> list[tuple[float, float, StepTime | None]]:
        """Milliseconds a run, the share of all time, and whose: None for the time between steps."""
        runs = self.runs
        whole = max(sum(run.duration_ns for run in runs), 1)
        found: list[tuple[int, StepTime | None]] = [(t.total_ns, t) for t in self.steps()]
        found.append((sum(run.rest_ns for run in runs), None))
        return [(ns / 1e6 / max(len(runs), 1), ns / whole, time) for ns, time in found]

    def __str__(self) -> str:
        runs = self.runs
        mean = sum(run.duration_ns for run in runs) / 1e6 / max(len(runs), 1)
        lines = [f"{len(runs)} runs, {mean:.3f} ms each", "  ms a run   share  step"]
        for ms, share, time in self.rows():
            text = "between steps"
            if time:
                kind, name, nodes = time.step
                text = f"{kind} {name}" + (f"  # {', '.join(nodes)}" if nodes else "")
            lines.append(f"{ms:10.3f}  {share:5.1%}  {text}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from . import html

        return html.profile(self)


def trace_events(
    runs: Iterable[Run], epoch_ns: int, provider: str = "CPUExecutionProvider"
) -> list[dict[str, Any]]:
    """Runs in the trace event format, with names and arguments as onnxruntime's files have them."""
    events = []
    for run in runs:
        events.append(
            trace_event(
                "Session", "model_run", run.thread, run.start_ns - epoch_ns, run.duration_ns
            )
        )
        for step, start, duration in run.events:
            arguments = {
                "op_name": step.name,
                "provider": provider,
                "kind": step.kind,
                "nodes": ", ".join(step.nodes),
            }
            name = f"{step.nodes[0] if step.nodes else step.name}_kernel_time"
            events.append(
                trace_event("Node", name, run.thread, start - epoch_ns, duration, arguments)
            )
    return events


def trace_event(
    category: str,
    name: str,
    thread: int,
    start_ns: int,
    duration_ns: int,
    arguments: dict[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "cat": category,
        "pid": os.getpid(),
        "tid": thread,
        "dur": duration_ns / 1000,
        "ts": start_ns / 1000,
        "ph": "X",
        "name": name,
        "args": arguments or {},
    }


def write_events(path: str | os.PathLike[str], events: Iterable[dict[str, Any]]) -> None:
    import json  # here, because few programs write traces

    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(event) for event in events) + "\n]\n")
