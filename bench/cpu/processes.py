"""Worker processes as seen by run.py."""
import os
import pickle
import select
import subprocess
import sys
import time
from pathlib import Path

from models import BUILD

TIMEOUT_S = 300


class EngineError(Exception):
    """The engine is missing, failed, crashed or hung; the text says which."""


class Process:
    """An engine in a fresh process. Methods of worker.Worker are called by name."""

    def __init__(self, engine, threads):
        path = [os.environ.get("PYTHONPATH"), str(BUILD / "release" / "python")]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py")), engine, str(threads)],
            env={**os.environ, "PYTHONPATH": ":".join(filter(None, path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.version = self.answer()

    def answer(self):
        ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT_S)
        if not ready:
            self.process.kill()
            raise EngineError(f"no answer in {TIMEOUT_S} s")
        try:
            kind, value = pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError):
            raise EngineError(f"ended with exit code {self.process.wait()}") from None
        if kind == "error":
            raise EngineError(value)
        return value

    def call(self, command, *arguments):
        try:
            pickle.dump((command, arguments), self.process.stdin, pickle.HIGHEST_PROTOCOL)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise EngineError(f"ended with exit code {self.process.wait()}") from None
        return self.answer()

    def cpu_seconds(self):
        """The processor time that the process has used."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def settle():
    """Long enough for the threads of an engine that has just run to fall asleep."""
    time.sleep(0.03)
