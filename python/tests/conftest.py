"""Run with PYTHONPATH=<build>/python, beside an installed onnxruntime."""

import pytest

import onrush


@pytest.fixture(params=["cpu", "reference"])
def device(request):
    return request.param


@pytest.fixture
def options(device):
    """SessionOptions for the device under test."""
    made = onrush.SessionOptions()
    made.add_session_config_entry("onrush.device", device)
    return made
