"""Run with PYTHONPATH=<build>/python, beside an installed onnxruntime."""

import signal

import pytest

import onrush


def pytest_configure():
    """A process started in the background ignores SIGINT, and so would all that tests start."""
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
