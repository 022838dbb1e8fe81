"""Several profiled runs as one."""
from typing import NamedTuple


class Event(NamedTuple):
    """What tells events of a run apart."""

    name: str  # of the node
    op: str
    provider: str = ""  # ONNX Runtime's; empty for others
    kernel: str = ""  # of a GPU
    position: int = -1  # of the node or operator in the run; -1 for what is none


def middle_mean(values):
    """The mean of the middle half: free of what disturbed some, finer than whole microseconds."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


class ProfiledRuns:
    def __init__(self, durations):
        """durations: of each run, in microseconds."""
        self.runs = len(durations)
        self.run_us = middle_mean(durations)
        self.times, self.device_times = {}, {}  # by event: in each run
        self.calls = {}  # by event: in all runs

    def add(self, event, run, us, device_us=0, calls=1):
        self.times.setdefault(event, [0] * self.runs)[run] += us
        self.device_times.setdefault(event, [0] * self.runs)[run] += device_us
        self.calls[event] = self.calls.get(event, 0) + calls

    def answer(self):
        """What a worker answers; events are in the order in which they came first."""
        events = [
            {
                **event._asdict(),
                "us": middle_mean(times),
                "device_us": middle_mean(self.device_times[event]),
                "calls": max(self.calls[event] / self.runs, 1),
            }
            for event, times in self.times.items()
        ]
        return {"run_us": self.run_us, "events": events}
