"""One engine in a process of its own: worker.py ENGINE THREADS.

Reads pickled (command, arguments) from standard input, answers each with a pickled ("ok", result) or
("error", text) on what was standard output when it began.
"""
import gc
import os
import pickle
import sys
import time

from engines import ENGINES


def memory_mb(field):
    """VmHWM (the peak) or VmRSS (now) of this process."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    return 0.0


def milliseconds(work, *arguments):
    begin = time.perf_counter()
    result = work(*arguments)
    return 1000 * (time.perf_counter() - begin), result


def decode_loop(run, steps, first_feeds, past_names):
    """Calls `run` once a step, with the longer past that the step before has given."""
    feeds = dict(first_feeds)
    for _ in range(steps):
        length = feeds[past_names[0]].shape[2] + 1
        feeds["attention_mask"] = feeds["attention_mask"][:, :1].repeat(length, axis=1)
        feeds["position_ids"] = feeds["position_ids"] * 0 + (length - 1)
        _, *present = run(feeds)
        feeds.update(zip(past_names, present))


class Worker:
    def __init__(self, engine, threads):
        self.engine = ENGINES[engine](threads)

    def version(self):
        return self.engine.version()

    def load(self, path, feeds, fixed_shapes=True):
        """Makes the session and takes the first result from it."""
        self.feeds = feeds
        shapes = {name: array.shape for name, array in feeds.items()} if fixed_shapes else None
        before = memory_mb("VmRSS")
        create, _ = milliseconds(self.engine.load, path, shapes)
        first, outputs = milliseconds(self.engine.run, feeds)
        peak = memory_mb("VmHWM")
        return {
            "create_ms": create,
            "first_ms": first,
            "peak_mb": peak,
            "import_mb": before,
            "outputs": outputs,
        }

    def round(self, seconds, least):
        """Latencies of as many runs as fit into the time, `least` at least, after one not counted."""
        self.engine.run(self.feeds)
        latencies = []
        end = time.perf_counter() + seconds
        while len(latencies) < least or time.perf_counter() < end:
            latencies.append(milliseconds(self.engine.run, self.feeds)[0])
        return latencies

    def make_session(self, path):
        return milliseconds(self.engine.load, path, None)[0]

    def passes(self, count, all_feeds):
        """The total time of each of `count` passes over the feeds, and the first pass's outputs."""
        totals, outputs = [], []
        for number in range(count):
            total = 0.0
            for feeds in all_feeds:
                latency, result = milliseconds(self.engine.run, feeds)
                total += latency
                if number == 0:
                    outputs.append(result[0])
            totals.append(total)
        return totals, outputs

    def decode(self, count, steps, first_feeds, past_names):
        """As passes(), of a decode loop: outputs after the first come back as the past inputs."""
        totals, outputs = [], []
        for number in range(count):
            total = 0.0

            def timed(feeds):
                nonlocal total
                latency, result = milliseconds(self.engine.run, feeds)
                total += latency
                if number == 0:
                    outputs.append(result[0])
                return result

            decode_loop(timed, steps, first_feeds, past_names)
            totals.append(total)
        return totals, outputs

    def binds(self, path, threads, command, *arguments):
        """Onrush alone: plans made, and the milliseconds of each bind but the first, over one pass
        of the work that `passes` or `decode` times."""
        import onrush

        session, profile = onrush.Session(path, threads=threads), onrush.Profile()

        def run(feeds):
            return list(session.run(feeds, profile=profile).values())

        if command == "decode":
            decode_loop(run, *arguments)
        else:
            for feeds in arguments[0]:
                run(feeds)
        events = [event for each in profile.runs for event in each.events]
        plans = sum(event.step.kind == "compile" for event in events)
        return plans, [e.duration_ns / 1e6 for e in events if e.step.kind == "bind"][1:]


def main():
    engine, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(kind, value):
        pickle.dump((kind, value), answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()

    try:
        worker = Worker(engine, threads)
    except ImportError as error:
        return answer("error", f"not installed: {error}")
    answer("ok", worker.version())
    gc.disable()
    while True:
        try:
            command, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return None
        gc.collect()
        try:
            answer("ok", getattr(worker, command)(*arguments))
        except Exception as error:  # whatever the engine throws is its result
            answer("error", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
