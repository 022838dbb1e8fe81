"""Run with PYTHONPATH=<build>/python, beside an installed onnxruntime."""

import os
import signal

import pytest

import onrush


def pytest_configure():
    """What processes that tests start inherit: the same path, whatever their working folder, and
    SIGINT, which a process started in the background ignores."""
    if path := os.environ.get("PYTHONPATH"):
        os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["cpu", "reference"])
def device(request):
    return request.param


@pytest.fixture
def options(device):
    """SessionOptions for the device under test."""
    made = onrush.SessionOptions()
    made.add_session_config_entry("onrush.device", device)
    return made
