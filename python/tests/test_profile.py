"""onrush.Profile, plans, their HTML, and the profile files of onnxruntime's interface."""

import html.parser
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import models
import numpy as np
import pytest

import onrush

NETWORK = models.model(
    [
        models.node("MatMul", ["x", "w"], ["t"], name="first"),
        models.node("Softmax", ["t"], ["y"], name="second <&>"),
    ],
    [models.tensor("x", models.FLOAT, ["N", 3]), models.tensor("w", models.FLOAT, [3, 4])],
    [models.tensor("y", models.FLOAT, ["N", 4])],
)
FEED = {"x": np.ones((2, 3), np.float32), "w": np.ones((3, 4), np.float32)}


class Tags(html.parser.HTMLParser):
    """The text of a page whose elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text = [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + " "


@pytest.fixture
def session(device):
    return onrush.Session(NETWORK, device=device)


def profiled(session, runs=3):
    profile = onrush.Profile()
    for _ in range(runs):
        session.run(FEED, profile=profile)
    return profile


def test_runs(session):
    begin = time.monotonic_ns()
    profile = profiled(session)
    end = time.monotonic_ns()
    assert len(profile.runs) == 3
    for number, run in enumerate(profile.runs):
        assert run.thread == threading.get_native_id()
        assert begin <= run.start_ns and run.start_ns + run.duration_ns <= end
        kinds = [event.step.kind for event in run.events]
        assert kinds[:2] == ["compile", "bind"] if number == 0 else not {"compile", "bind"} & {*kinds}
        at = run.start_ns
        for event in run.events:
            assert event.start_ns >= at and event.duration_ns >= 0
            at = event.start_ns + event.duration_ns
        assert run.rest_ns >= 0
    nodes = {node for time in profile.steps() for node in time.step.nodes}
    assert {"first", "second <&>"} <= nodes


def test_steps_and_text(session):
    profile = profiled(session)
    steps = profile.steps()
    assert [time.total_ns for time in steps] == sorted(
        (time.total_ns for time in steps), reverse=True
    )
    assert {
        time.executions for time in steps if time.step.kind not in ("compile", "bind")
    } == {3}
    shares = [share for _, share, _ in profile.rows()]
    assert sum(shares) == pytest.approx(1)
    assert "3 runs" in str(profile) and "# first" in str(profile)
    assert "between steps" in str(profile)


def test_empty():
    profile = onrush.Profile()
    assert profile.runs == [] and profile.steps() == []
    assert str(profile).startswith("0 runs")
    assert "0 runs" in Tags(profile._repr_html_()).text


def test_threads():
    session = onrush.Session(NETWORK)
    profile = onrush.Profile()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: session.run(FEED, profile=profile), range(40)))
    assert len(profile.runs) == 40


def test_failed_runs_are_left_out(session):
    profile = onrush.Profile()
    with pytest.raises(onrush.Error):
        session.run({"x": FEED["x"]}, profile=profile)
    assert profile.runs == []


def test_plans(session):
    assert session.plans == ()
    session.run(FEED)
    (plan,) = session.plans
    assert {"first", "second <&>"} <= {node for step in plan.steps for node in step.nodes}
    assert plan.sizes == ("s0: extent 0 of x",)
    session.run({**FEED, "x": np.ones((5, 3), np.float32)})
    assert session.plans == (plan,)
    sliced = models.model(
        [models.node("Gather", ["x", "i"], ["y"])],
        [models.tensor("x", models.FLOAT, ["N", 3]), models.tensor("i", models.INT64, [1])],
        [models.tensor("y", models.FLOAT, [1, 3])],
    )
    other = onrush.Session(sliced)
    other(FEED["x"], np.array([1]))
    assert all(isinstance(guard, str) for plan in other.plans for guard in plan.guards)


def test_html(session):
    assert "No plan yet" in Tags(session._repr_html_()).text
    profile = profiled(session)
    text = Tags(session._repr_html_()).text
    assert "tensor(float)" in text and "Plan 0:" in text and " ms" in text
    assert "second <&>" in text
    assert "3 runs" in Tags(profile._repr_html_()).text
    for shown in (session._repr_html_(), profile._repr_html_()):
        assert "<script" not in shown and "http" not in shown


def test_trace(session, tmp_path):
    path = tmp_path / "trace.json"
    profiled(session).write_trace(path)
    events = json.loads(path.read_text())
    assert min(event["ts"] for event in events) == 0
    assert [event["name"] for event in events].count("model_run") == 3
    assert {"first", "second <&>"} <= {
        node for event in events for node in event["args"].get("nodes", "").split(", ")
    }


def test_file_of_onnxruntimes_interface(options, tmp_path):
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onrush.InferenceSession(NETWORK, options)
    session.run(None, FEED)
    binding = session.io_binding()
    for name, array in FEED.items():
        binding.bind_cpu_input(name, array)
    binding.bind_output("y")
    session.run_with_iobinding(binding)
    session.run_with_ort_values(
        None, {name: onrush.OrtValue.ortvalue_from_numpy(array) for name, array in FEED.items()}
    )
    name = session.end_profiling()
    session.run(None, FEED)
    assert session.end_profiling() == ""
    with open(name) as file:
        events = json.load(file)
    assert [event["name"] for event in events].count("model_run") == 3
    assert events[0]["name"] == "session_initialization"
    kernels = [event for event in events if event["cat"] == "Node"]
    assert {event["args"]["provider"] for event in kernels} == {"CPUExecutionProvider"}
    runs = [event for event in events if event["name"] == "model_run"]
    for kernel in kernels:
        assert any(
            run["ts"] <= kernel["ts"] and kernel["ts"] + kernel["dur"] <= run["ts"] + run["dur"] + 1
            for run in runs
        )
