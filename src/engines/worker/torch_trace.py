"""What PyTorch's profiler writes of runs on a GPU."""
from cupti import Call, Work
from gpu_runs import Span

MARK = "onrush run"


def outermost(operators, start, end):
    """Spans of those between the times that are in no other one."""
    spans, done = [], start
    for begin, stop, event in operators:
        if done <= begin < end and event["name"].startswith("aten::"):
            spans.append(Span(begin, stop, "", event["name"], "", len(spans)))
            done = stop
    return spans


def parts_of_trace(events):
    """Runs, operators, CUDA's calls and the device's work, each by start, of a Chrome trace."""

    def of(*kinds):
        """(start, end, event), in nanoseconds."""
        found = []
        for event in events:
            if event.get("ph") == "X" and event.get("cat") in kinds:
                begin = round(1000 * event["ts"])
                found.append((begin, begin + round(1000 * event["dur"]), event))
        return sorted(found, key=lambda item: item[:2])

    marks = of("user_annotation")
    runs = [(begin, end) for begin, end, event in marks if event["name"] == MARK]
    operators = of("cpu_op")
    spans = [span for run in runs for span in outermost(operators, *run)]
    calls, asked = [], {}
    for begin, end, event in of("cuda_runtime", "cuda_driver"):
        calls.append(Call(begin, end, event["name"]))
        asked.setdefault(event["args"].get("correlation"), begin)
    works = []
    for begin, end, event in of("kernel", "gpu_memcpy", "gpu_memset"):
        name = event["name"]
        if name.startswith("Mem"):
            name = name.partition(" (")[0]  # "Memcpy HtoD (Pageable -> Device)"
        works.append(Work(begin, end, name, asked.get(event["args"].get("correlation"), begin)))
    return runs, spans, calls, works
