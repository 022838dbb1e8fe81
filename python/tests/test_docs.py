"""What docs/stages.md shows is what the program prints."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "stages.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds the model that the page makes."""
    pytest.importorskip("onnx")
    path = tmp_path_factory.mktemp("stages")
    (script,) = blocks("python")
    subprocess.run([sys.executable, "-c", script], cwd=path, check=True)
    return path


@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: block.split("\n")[0])
def test_stages(folder, block):
    command, expected = block.split("\n", 1)
    arguments = shlex.split(command.removeprefix("$ onrush"))
    done = subprocess.run(
        [sys.executable, "-m", "onrush", *arguments], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip() == expected.rstrip()
