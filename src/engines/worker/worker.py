"""One engine in this process: worker.py ENGINE.

Answers calls from standard input on standard output, a line of JSON each:
  {"call": "load", ...}  ->  {"ok": {...}} or {"error": "why"}
The calls are listed in onrush_engine.h. What libraries print goes to standard error.
"""
import gc
import importlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

# By the engine's name up to its colon; variants follow, with + between them.
MODULES = {
    "onnxruntime": "onnxruntime_engine",
    "openvino": "openvino_engine",
    "pytorch": "pytorch_engine",
}


def milliseconds(work, *arguments):
    begin = time.perf_counter_ns()
    result = work(*arguments)
    return (time.perf_counter_ns() - begin) / 1e6, result


def read_inputs(request):
    """Arrays by input; types that numpy lacks are views of ml_dtypes', if that is there."""
    arrays = {}
    with np.load(request["inputs"], allow_pickle=False) as archive:
        for name, array in archive.items():
            if array.dtype.kind == "V":
                ml_dtypes = importlib.import_module("ml_dtypes")
                array = array.view(getattr(ml_dtypes, request["types"][name]))
            arrays[name] = array
    return arrays


class Worker:
    def __init__(self, name):
        module, _, variants = name.partition(":")
        engine = importlib.import_module(MODULES[module])
        self.engine = engine.Engine(set(filter(None, variants.split("+"))))

    def version(self, request):
        return {"version": self.engine.version()}

    def load(self, request):
        feeds = read_inputs(request)
        load_ms, _ = milliseconds(self.engine.load, request, feeds)
        first_ms, outputs = milliseconds(self.engine.run)
        self.outputs_of_first_run = self.engine.to_numpy(outputs)
        for _ in range(2):  # engines that record or tune do so in their first runs
            self.engine.run()
        return {"load_ms": load_ms, "first_ms": first_ms}

    def outputs(self, request):
        np.savez(
            request["file"], **{str(i): a for i, a in enumerate(self.outputs_of_first_run)}
        )
        return {"names": self.engine.output_names()}

    def round(self, request):
        run, now = self.engine.run, time.perf_counter_ns
        run()  # after others had the caches; not counted
        times = []
        end = now() + int(1e9 * request["seconds"])
        while len(times) < request["most"] and (len(times) < request["least"] or now() < end):
            begin = now()
            run()
            times.append(now() - begin)
        return {"ns": times}

    def profile(self, request):
        return self.engine.profile(request)


def describe(error):
    """One line that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else "no reason given"
    return f"{type(error).__name__}: {text}"[:400]


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**reply):
        answers.write(json.dumps(reply) + "\n")
        answers.flush()

    worker, reason = None, None
    try:
        worker = Worker(sys.argv[1])
    except ImportError as error:
        reason = f"not installed in {sys.prefix}: {describe(error)}"
    except Exception as error:  # whatever the engine throws is its result
        reason = describe(error)
    gc.disable()
    for line in sys.stdin:
        request = json.loads(line)
        if worker is None:
            answer(error=reason)
            continue
        gc.collect()
        try:
            answer(ok=getattr(worker, request["call"])(request))
        except MemoryError:
            answer(error="out of memory")
        except Exception as error:
            answer(error=describe(error))


if __name__ == "__main__":
    main()
