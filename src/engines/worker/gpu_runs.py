"""Profiled runs on a GPU: whose work it did, and what the host was at while it had none.

A run's time is shared out without rest: while the device works, to whoever asked for the work;
while it does not, to the host's node or call, if that explains it. What is left lies between
kernels.
"""
from bisect import bisect_right
from typing import NamedTuple

from profiled_runs import Event, ProfiledRuns


class Span(NamedTuple):
    """A node or operator on the host; times in nanoseconds."""

    start: int
    end: int
    name: str
    op: str
    provider: str  # ONNX Runtime's; empty for others
    position: int  # in its run

    def event(self, kernel=""):
        return Event(self.name, self.op, self.provider, kernel, self.position)

    def holds_up(self):
        """The device waits for what the host does here."""
        return self.provider == "CPUExecutionProvider" or self.op.startswith("Memcpy")


WAITING = Event("", "synchronize")
COPIES = {"Memcpy HtoD": "MemcpyFromHost", "Memcpy DtoH": "MemcpyToHost"}


def innermost(spans, start, end):
    """(start, end, span or None) without gaps: the last one to begin of those that are open."""
    turns = sorted(
        turn
        for number, span in enumerate(spans)
        for turn in ((span.start, 1, number), (span.end, 0, number))
    )
    pieces, open_spans, at = [], [], start
    for time, begins, number in turns:
        if time > at:
            pieces.append((at, time, spans[open_spans[-1]] if open_spans else None))
            at = time
        if begins:
            open_spans.append(number)
        else:
            open_spans.remove(number)
    pieces.append((at, max(at, end), None))
    return pieces


class Run:
    """One run: its spans, CUDA's calls and the device's work, each by start."""

    def __init__(self, start, end, spans, calls, works):
        self.start, self.end, self.works = start, end, works
        self.pieces = innermost(spans, start, end)
        self.starts = [piece[0] for piece in self.pieces]
        kernels = [work.start for work in works if work.name not in COPIES]
        self.first_kernel = min(kernels, default=end)
        self.last_kernel = max(kernels, default=start)
        copies = {work.asked: self.owner(work) for work in works if work.name in COPIES}
        self.calls = []  # that explain an idle device, with their events, one after the other
        for call in calls:
            event = copies.get(call.start, WAITING if "Synchronize" in call.name else None)
            if event and (not self.calls or call.start >= self.calls[-1][1]):
                self.calls.append((call.start, call.end, event))

    def owner(self, work):
        """The event that a piece of work counts for."""
        span = self.pieces[max(bisect_right(self.starts, work.asked) - 1, 0)][2]
        if work.name not in COPIES:
            return span.event(work.name) if span else Event("", "kernel", "", work.name)
        if span and span.op.startswith("Memcpy"):
            return span.event()
        inputs = work.name == "Memcpy HtoD" and work.start < self.first_kernel
        outputs = work.name == "Memcpy DtoH" and work.start > self.last_kernel
        if not (span and span.provider) and (inputs or outputs):
            return Event("", work.name)
        return Event(span.name if span else "", COPIES[work.name])

    def idle(self, start, end):
        """(event, ns) of what explains why the device does nothing for so long."""
        first = max(bisect_right(self.starts, start) - 1, 0)
        for begin, stop, span in self.pieces[first:]:
            if begin >= end:
                return
            begin, stop = max(begin, start), min(stop, end)
            if span and span.holds_up():
                yield span.event(), stop - begin
                continue
            for called, returned, event in self.calls:
                if called < stop and returned > begin:
                    yield event, min(returned, stop) - max(called, begin)

    def events(self):
        """(event, us, those of the device, pieces of work), in order."""
        done = self.start
        for work in self.works:
            for event, ns in self.idle(done, work.start) if work.start > done else ():
                yield event, ns / 1000, 0, 0
            us = max(work.end - max(work.start, done), 0) / 1000
            yield self.owner(work), us, us, 1
            done = max(done, work.end)
        for event, ns in self.idle(done, self.end) if self.end > done else ():
            yield event, ns / 1000, 0, 0


def within(items, start, end, time):
    return [item for item in items if start <= time(item) < end]


def profile_of(runs, spans, calls, works):
    """runs: (start, end)."""
    profiled = ProfiledRuns([(end - start) / 1000 for start, end in runs])
    for number, (start, end) in enumerate(runs):
        run = Run(
            start,
            end,
            within(spans, start, end, lambda span: span.start),
            within(calls, start, end, lambda call: call.start),
            within(works, start, end, lambda work: work.asked),
        )
        for event, us, device_us, count in run.events():
            profiled.add(event, number, us, device_us, count)
    return profiled.answer()
