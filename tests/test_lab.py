"""Each notebook in a real JupyterLab in a real browser, without Multi30k: Run All, no error.

With SCREENSHOTS=FOLDER, pictures of every page are saved there.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from notebooks import ROOT

NOTEBOOKS = sorted(path.name for path in ROOT.glob("notebooks/*.ipynb"))
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false"},
    "notebook-extension/tracker": {"windowingMode": "none"},  # render every cell
}
PANEL = "window.jupyterapp?.shell?.currentWidget"
READY = f"{PANEL}?.sessionContext?.session?.kernel?.status === 'idle'"
RUN_ALL = """() => {
    window.done = false;
    jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.done = true; });
}"""


@pytest.fixture(scope="module")
def lab(shorten, tmp_path_factory):
    """Serve a copy of the notebooks, with settings of its own; yield the address."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", home / "course" / "notebooks")
    shorten(home / "course" / "notebooks")
    for name, values in SETTINGS.items():
        plugin, setting = name.split("/")
        file = home / f"config/lab/user-settings/@jupyterlab/{plugin}/{setting}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {f"JUPYTER_{k}_DIR": str(home / k.lower()) for k in ("CONFIG", "DATA", "RUNTIME")}
    options = "--no-browser --allow-root --IdentityProvider.token= --ServerApp.port_retries=0"
    options += f" --LabApp.expose_app_in_browser=True --port={port}"
    with (home / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options.split()],
            cwd=home / "course",
            env=os.environ | folders | {"TRANSFORMER_LIB_MULTI30K": "no-multi30k"},
            stdout=log,
            stderr=log,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(120):
                try:
                    urllib.request.urlopen(f"{address}/api/status").close()
                    break
                except OSError:
                    time.sleep(0.5)
            yield address
        finally:
            server.terminate()
            server.wait()


def save_pictures(page, name):
    """Photograph the page screen by screen, into the folder SCREENSHOTS names."""
    page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
    scroll = "document.querySelector('.jp-WindowedPanel-outer')"
    height = page.evaluate(f"{scroll}.scrollHeight")
    step = page.evaluate(f"{scroll}.clientHeight")
    for number, top in enumerate(range(0, height, step), 1):
        page.evaluate(f"{scroll}.scrollTop = {top}")
        page.wait_for_timeout(300)
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"{name}-{number:02}.png")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_in_jupyterlab(browser, lab, name):
    page = browser.new_page(viewport={"width": 1200, "height": 1400})
    page.goto(f"{lab}/lab/tree/notebooks/{name}?reset")
    page.wait_for_function(READY, timeout=120_000)
    page.evaluate(RUN_ALL)
    page.wait_for_function("window.done", timeout=900_000)
    if "SCREENSHOTS" in os.environ:
        save_pictures(page, name.removesuffix(".ipynb"))
    cells = page.evaluate(f"{PANEL}.content.model.toJSON().cells")
    text = page.inner_text("body")
    formulas = page.locator("mjx-container").count(), page.locator("mjx-merror").count()
    page.evaluate(f"{PANEL}.sessionContext.shutdown()")
    page.close()
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    errors = [o for cell in code for o in cell["outputs"] if o["output_type"] == "error"]
    assert not errors
    assert formulas[0] > 0
    assert formulas[1] == 0, "a formula that MathJax cannot read"
    for message in ("Javascript Error", "Error displaying widget"):
        assert message not in text
