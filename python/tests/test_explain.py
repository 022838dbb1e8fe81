"""`onrush explain`: its page in a browser, and why a peer is slower, or faster."""

import json
import re
import shutil
import subprocess
import sys

import models
import numpy as np
import pytest

import onrush

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

# Reports, as the text of the page's last element, what the keyboard and sorting do.
PROBE = """
<script>
const timeline = document.getElementById("timeline");
timeline.focus();
timeline.dispatchEvent(new KeyboardEvent("keydown", {key: "End", bubbles: true}));
const heading = document.querySelector("#table-steps").parentElement.querySelector("th button");
heading.click();
const report = document.createElement("pre");
report.id = "report";
report.textContent = JSON.stringify({
  focused: document.activeElement === timeline,
  detail: detail.textContent,
  chosen: document.querySelectorAll(".chosen").length,
  sorted: heading.parentElement.getAttribute("aria-sort"),
  background: getComputedStyle(document.body).backgroundColor,
});
document.body.append(report);
</script>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    (folder / "model.onnx").write_bytes(models.ADD)
    subprocess.run(
        [sys.executable, "-m", "onrush", "explain", folder / "model.onnx", "--runs", "5",
         "--no-options", "--cache-folder", folder / "cache", "--html", folder / "page.html"],
        check=True, timeout=300,
    )  # fmt: skip
    return folder / "page.html"


def browse(page, dark, *options):
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    return subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", *scheme, *options,
         f"--user-data-dir={page.parent / 'profile'}", page.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.skipif(not BROWSER, reason="there is no chromium here")
@pytest.mark.parametrize("dark", [False, True])
def test_page_on_the_screen(page, dark):
    """Readable in both colour schemes: text stands out from the background, figures are there."""
    io = pytest.importorskip("skimage.io", reason="scikit-image is not installed")
    picture = page.with_name(f"page-{dark}.png")
    browse(page, dark, "--window-size=1000,1600", f"--screenshot={picture}")
    pixels = io.imread(picture)[..., :3].reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    background = colours[counts.argmax()].astype(int)
    assert background.tolist() == ([22, 24, 28] if dark else [255, 255, 255])
    assert 0.3 < counts.max() / len(pixels) < 0.98
    apart = np.abs(colours - background).min(axis=1)
    assert apart.max() > 180  # of 255, in each channel
    coloured = np.ptp(colours.astype(int), axis=1) > 60
    assert counts[coloured].sum() > 0.02 * len(pixels)


@pytest.mark.skipif(not BROWSER, reason="there is no chromium here")
@pytest.mark.parametrize("dark", [False, True])
def test_page_in_a_browser(page, dark):
    probed = page.with_name("probed.html")
    probed.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    done = browse(probed, dark, "--dump-dom")
    found = re.search(r'<pre id="report">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    report = json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert report["focused"] and report["chosen"] > 0
    assert "Add" in report["detail"] and "bound by" in report["detail"]
    assert report["sorted"] == "descending"
    assert report["background"] == ("rgb(22, 24, 28)" if dark else "rgb(255, 255, 255)")


# --- planted reasons why onnxruntime is slower, or faster


def explained(folder, graph, *arguments, initializers=(), peer="onnxruntime"):
    """What is said of a graph in comparison with a peer."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("torch" if peer == "pytorch" else peer, reason=f"{peer} is not installed")
    graph.initializer.extend(initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)])
    model.ir_version = 10
    onnx.save(model, folder / "model.onnx")
    done = subprocess.run(
        [sys.executable, "-m", "onrush", "explain", folder / "model.onnx", "--no-options",
         "--threads", "1", "--runs", "20", "--cache-folder", folder.parent / "cache",
         "--why-slower-than", peer, "--python", sys.executable,
         "--json", folder / "explained.json", *arguments],
        capture_output=True, text=True, timeout=300, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "explained.json").read_text()), done.stdout


def floats(*shape):
    import onnx

    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return onnx.numpy_helper.from_array(values, "w")


def graph_of(nodes, shape):
    from onnx import TensorProto, helper

    return helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )  # fmt: skip


def chain(operators):
    """Nodes one after the other, from x to y: (operator, further inputs, attributes)."""
    from onnx import helper

    nodes, at = [], "x"
    for i, (operator, inputs, attributes) in enumerate(operators):
        to = "y" if i + 1 == len(operators) else f"t{i}"
        nodes.append(helper.make_node(operator, [at, *inputs], [to], name=f"n{i}", **attributes))
        at = to
    return nodes


def test_launches_are_the_cause(tmp_path):
    # Products of few numbers: neither engine can make one kernel of two.
    for _ in range(4):  # other work of the machine may hide the difference
        graph = graph_of(chain([("MatMul", ["w"], {})] * 200), [2, 8])
        found, text = explained(tmp_path, graph, initializers=[floats(8, 8)])
        if found["why"]["verdict"] != "no difference":
            break
    assert found["why"]["verdict"] == "faster", text
    assert found["why"]["causes"][0]["cause"] == "starting kernels", text


def test_fusion_is_the_cause(tmp_path):
    operators = [("Sin", [], {}), ("Abs", [], {}), ("Sqrt", [], {}), ("Neg", [], {})] * 10
    found, text = explained(tmp_path, graph_of(chain(operators), [1, 200000]))
    assert len(found["why"]["regions"]) == 1 and len(found["steps"]) == 1, text
    # How long nothing runs between 40 kernels depends on what else the machine does.
    causes = [c for c in found["why"]["causes"] if c["cause"] != "starting kernels"]
    assert causes[0]["cause"] == "fusion" and causes[0]["peer_us"] > 2 * causes[0]["own_us"], text
    assert "40 kernels" in causes[0]["words"] and "10 Sin" in causes[0]["words"]


def test_layout_is_the_cause(tmp_path):
    # onnxruntime convolves in a blocked layout, and negates in the plain one.
    operators = [("Conv", ["w"], {"group": 32}), ("Neg", [], {})] * 6
    graph = graph_of(chain(operators), [1, 32, 160, 160])
    found, text = explained(tmp_path, graph, initializers=[floats(32, 1, 1, 1)])
    gains = {c["cause"]: c["peer_us"] - c["own_us"] for c in found["why"]["causes"]}
    gains.pop("starting kernels", None)  # depends on what else the machine does
    assert max(gains, key=gains.get) == "layout", text


def test_nan_is_named_first(tmp_path):
    operators = [("Abs", [], {}), ("Neg", [], {}), ("Log", [], {}), ("Exp", [], {})]
    found, text = explained(tmp_path, graph_of(chain(operators), [1, 64]))
    assert "'n2' (Log)" in found["nan"] and "'y'" in found["nan"]
    assert text.index("holds NaN") < text.index("why: ")


def test_a_missing_peer_costs_the_comparison_only(tmp_path):
    graph = graph_of(chain([("Abs", [], {})]), [1, 64])
    found, _ = explained(tmp_path, graph, "--python", "/nowhere/python")
    assert "why" in found  # the first interpreter given has it
    done = subprocess.run(
        [sys.executable, "-m", "onrush", "explain", tmp_path / "model.onnx", "--no-options",
         "--runs", "5", "--cache-folder", tmp_path.parent / "cache",
         "--why-slower-than", "onnxruntime", "--python", "/nowhere/python"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0
    assert "No comparison: onnxruntime" in done.stdout and "/nowhere/python" in done.stdout
    assert "kernels" in done.stdout


# --- PyTorch, whose profiler names no nodes

TORCH_MODULE = """
import torch

class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones({weights}))

    def forward(self, x):
        {code}
"""


def beside_torch(folder, graph, code, weights, explained=explained):
    """What is said of a graph and a module that computes the same with weights of the same size."""
    (folder / "torch_module.py").write_text(
        TORCH_MODULE.format(weights=list(weights), code="\n        ".join(code))
    )
    return explained(
        folder, graph, "--torch", "torch_module:Module", initializers=[floats(*weights)],
        peer="pytorch",
    )  # fmt: skip


def test_lines_up_with_torch_by_product(tmp_path):
    """Each product of either is set against the same one of the other, with what follows it."""
    operators = [("MatMul", ["w"], {}), ("Softmax", [], {}), ("MatMul", ["w"], {}), ("Abs", [], {})]
    code = ["x = torch.softmax(x @ self.w, -1)", "return torch.abs(x @ self.w)"]
    found, text = beside_torch(tmp_path, graph_of(chain(operators), [300, 400]), code, (400, 400))
    why = found["why"]
    assert why["peer"] == "pytorch" and why["peer_us"] > 0, text
    of_node = {node: region for region in why["regions"] for node in region["nodes"]}
    assert set(of_node) == {"n0", "n1", "n2", "n3"}, text
    assert of_node["n0"] is of_node["n1"] and of_node["n2"] is of_node["n3"], text
    first, second = ([k["op"] for k in of_node[node]["kernels"]] for node in ("n0", "n2"))
    assert first[0] == second[0] == "aten::matmul", text
    assert "aten::softmax" in first and "aten::abs" in second, text
    assert of_node["n0"]["steps"] and of_node["n2"]["steps"]
    parts = sum(c["peer_us"] - c["own_us"] for c in why["causes"])
    assert parts == pytest.approx(why["peer_us"] - why["own_us"], abs=0.01)


def test_fusion_is_the_cause_with_torch(tmp_path):
    """Eager PyTorch runs a kernel each."""
    operators = [("MatMul", ["w"], {})]
    operators += [("Sin", [], {}), ("Abs", [], {}), ("Sqrt", [], {}), ("Neg", [], {})] * 10
    code = ["x = x @ self.w", "for _ in range(10):", "    x = -torch.sqrt(torch.abs(torch.sin(x)))"]
    code.append("return x")
    graph = graph_of(chain(operators), [500, 400])
    found, text = beside_torch(tmp_path, graph, code, (400, 400))
    cause, *_ = (c for c in found["why"]["causes"] if c["cause"] != "starting kernels")
    assert cause["cause"] == "fusion", text
    assert "runs 40 kernels" in cause["words"], text


def test_torch_with_other_products(tmp_path):
    """A module that multiplies less often than the model is compared as a whole."""
    graph = graph_of(chain([("MatMul", ["w"], {})] * 3), [300, 400])
    found, text = beside_torch(tmp_path, graph, ["return x @ self.w"], (400, 400))
    assert len(found["why"]["regions"]) == 1, text


# --- the same on a GPU, whose kernels CUPTI times


def require_gpu(peer):
    """And a peer that can use it."""
    if onrush.get_device() == "CPU":
        pytest.skip("skipped: no GPU")
    if peer == "onnxruntime":
        onnxruntime = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            pytest.skip("skipped: this onnxruntime is without CUDA")


def on_gpu(folder, graph, *arguments, peer="onnxruntime", **named):
    """As explained()."""
    require_gpu(peer)
    found, text = explained(folder, graph, "--device", "cuda", *arguments, peer=peer, **named)
    assert found["device_clock"] == "CUPTI", text
    assert "why" in found, text
    why = found["why"]
    parts = sum(c["peer_us"] - c["own_us"] for c in why["causes"])
    assert parts == pytest.approx(why["peer_us"] - why["own_us"], abs=0.01)
    return found, text


def test_fallback_is_the_cause_on_a_gpu(tmp_path):
    # onnxruntime has no Atan for GPUs.
    operators = [("Abs", [], {}), *[("Atan", [], {})] * 4, ("Neg", [], {})]
    found, text = on_gpu(tmp_path, graph_of(chain(operators), [1, 500000]))
    first, *others = found["why"]["causes"]
    assert first["cause"] == "fallback to the CPU" and "4 Atan" in first["words"], text
    assert any(c["cause"] == "device copies" and "MemcpyToHost" in c["words"] for c in others), text


def test_launches_are_the_cause_on_a_gpu(tmp_path):
    graph = graph_of(chain([("MatMul", ["w"], {})] * 200), [2, 8])
    found, text = on_gpu(tmp_path, graph, initializers=[floats(8, 8)])
    assert found["why"]["causes"][0]["cause"] == "starting kernels", text
    assert "launching 20" in found["why"]["causes"][0]["words"], text


def test_transfers_are_the_cause_on_a_gpu(tmp_path):
    graph = graph_of(chain([("Abs", [], {})]), [16, 1 << 20])
    found, text = on_gpu(tmp_path, graph)
    assert found["why"]["causes"][0]["cause"] == "transfers", text


def test_layout_is_the_cause_on_a_gpu(tmp_path):
    """A module that turns to channels last for each convolution, and back."""
    operators = [("Conv", ["w"], {}), ("Abs", [], {})] * 40
    code = ["for _ in range(40):",
            "    x = x.contiguous(memory_format=torch.channels_last)",
            "    x = torch.nn.functional.conv2d(x, self.w).contiguous()",
            "    x = torch.abs(x)", "return x"]  # fmt: skip
    graph = graph_of(chain(operators), [8, 32, 160, 160])
    found, text = beside_torch(tmp_path, graph, code, (32, 32, 1, 1), explained=on_gpu)
    assert found["why"]["causes"][0]["cause"] == "layout", text
    assert "aten::contiguous" in found["why"]["causes"][0]["words"], text


def test_nan_is_named_first_on_a_gpu(tmp_path):
    operators = [("Abs", [], {}), ("Neg", [], {}), ("Log", [], {}), ("Exp", [], {})]
    found, text = on_gpu(tmp_path, graph_of(chain(operators), [1, 64]))
    assert "'n2' (Log)" in found["nan"] and "'y'" in found["nan"]
    assert text.index("holds NaN") < text.index("why: ")


def test_without_cupti_on_a_gpu(tmp_path, monkeypatch):
    """Events time kernels then, which is said; there is no telling what onnxruntime's take."""
    require_gpu("onnxruntime")
    monkeypatch.setenv("ONRUSH_CUPTI", "/nowhere/libcupti.so")
    graph = graph_of(chain([("Abs", [], {}), ("Softmax", [], {})]), [64, 1000])
    found, text = explained(tmp_path, graph, "--device", "cuda")
    assert found["device_clock"] == "events" and "timed by events" in text
    assert sum(step["us"] for step in found["steps"]) > 0
    assert "CUPTI" in found["peer_failure"] and "No comparison" in text
