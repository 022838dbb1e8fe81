"""The page of `onrush explain`, in a browser."""

import json
import re
import shutil
import subprocess
import sys

import models
import pytest

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


@pytest.mark.skipif(not BROWSER, reason="there is no chromium here")
@pytest.mark.parametrize("dark", [False, True])
def test_page_in_a_browser(page, dark):
    probed = page.with_name("probed.html")
    probed.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", *scheme,
         f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", probed.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found = re.search(r'<pre id="report">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    report = json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert report["focused"] and report["chosen"] > 0
    assert "Add" in report["detail"] and "bound by" in report["detail"]
    assert report["sorted"] == "descending"
    assert report["background"] == ("rgb(22, 24, 28)" if dark else "rgb(255, 255, 255)")
