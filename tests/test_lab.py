"""Each notebook in a real JupyterLab, on a machine like Colab's: Run All, no error.

It lies alone in its folder; the course is not installed before the first notebook's first cell has
done that. The exercises have their solutions filled in, and Multi30k is not there. One run proves
it all: the notebook works there, so do its solutions, and a browser shows it whole.

With SCREENSHOTS=FOLDER, pictures of every page are saved there.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from colab import HAS, machine, outside, site_packages, with_all_they_need
from exercises import exercises, with_solutions
from notebooks import KERNEL, ROOT, read, write

NOTEBOOKS = sorted(path.stem for path in ROOT.glob("notebooks/*.ipynb"))
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false"},
    "notebook-extension/tracker": {"windowingMode": "none"},  # render every cell
}
WHERE = "import google.colab, transformer_lib; print(transformer_lib.__file__)"
OPEN = "async path => { await jupyterapp.commands.execute('docmanager:open', {path}); }"
PANEL = "jupyterapp.shell.currentWidget"
READY = f"{PANEL}?.sessionContext?.session?.kernel?.status === 'idle'"
CLOSE = f"async () => {{ await {PANEL}.sessionContext.shutdown(); {PANEL}.dispose(); }}"
RUN_ALL = """() => {
    window.done = false;
    jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.done = true; });
}"""


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """Make the machine; return its Python and where JupyterLab finds that as its kernel."""
    home = tmp_path_factory.mktemp("colab")
    python = machine(home, with_all_they_need(HAS.split()))
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    env = outside(home) | {"TRANSFORMER_LIB_MULTI30K": "no-multi30k"}
    kernel = home / "kernels" / KERNEL["name"] / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps(KERNEL | {"argv": argv, "env": env}), "utf-8")
    return python, home


def train_one_epoch(notebook):
    """Shorten notebook 09; only nbval trains all nine epochs."""
    [cell] = [cell for cell in notebook.cells if "EPOCHS, FULL = 9, 9" in cell.source]
    cell.source = cell.source.replace("EPOCHS, FULL = 9, 9", "EPOCHS, FULL = 1, 9")


@pytest.fixture(scope="module")
def lab(colab, tmp_path_factory):
    """Serve the solved notebooks, with settings of its own; yield the address."""
    home = tmp_path_factory.mktemp("lab")
    for stem in NOTEBOOKS:
        notebook = with_solutions(read(ROOT / "notebooks" / f"{stem}.ipynb"))
        notebook.cells.append(new_code_cell(WHERE))
        if stem == "09_training":
            train_one_epoch(notebook)
        folder = home / "course" / stem
        folder.mkdir(parents=True)
        write(folder / f"{stem}.ipynb", notebook)
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
            env=os.environ | folders | {"JUPYTER_PATH": str(colab[1])},
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
    scroll = "document.querySelector('.jp-WindowedPanel-outer')"
    height = page.evaluate(f"{scroll}.scrollHeight")
    step = page.evaluate(f"{scroll}.clientHeight")
    for number, top in enumerate(range(0, height, step), 1):
        page.evaluate(f"{scroll}.scrollTop = {top}")
        page.wait_for_timeout(300)
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"{name}-{number:02}.png")


@pytest.fixture(scope="module")
def page(browser, lab):
    """Open JupyterLab, once for all notebooks."""
    page = browser.new_page(viewport={"width": 1200, "height": 1400})
    page.goto(f"{lab}/lab?reset")
    page.wait_for_function("window.jupyterapp", timeout=120_000)
    page.evaluate("async () => { await jupyterapp.restored; }")
    page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
    # Software draws the spinners that say "running": a good part of a core.
    page.add_style_tag(content="*, *::before, *::after { animation: none !important }")
    return page


@pytest.mark.slow
@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_notebook_with_its_solutions_runs_in_jupyterlab(colab, page, stem):
    page.evaluate(OPEN, f"{stem}/{stem}.ipynb")
    page.wait_for_function(READY, polling=200, timeout=120_000)
    page.evaluate(RUN_ALL)  # then ask now and then: unless told so, Playwright asks at every frame
    page.wait_for_function("window.done", polling=200, timeout=900_000)
    if "SCREENSHOTS" in os.environ:
        save_pictures(page, stem)
    done = nbformat.from_dict(page.evaluate(f"{PANEL}.content.model.toJSON()"))
    text = page.inner_text("body")
    formulas = page.locator("mjx-container").count(), page.locator("mjx-merror").count()
    page.evaluate(CLOSE)
    code = [cell for cell in done.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert Path(code[-1].outputs[0].text.strip()).is_relative_to(site_packages(colab[0]))
    for one in exercises(done):
        [output] = done.cells[one.check].outputs
        assert output.text.startswith("✓ "), output.text
    assert formulas[0] > 0
    assert formulas[1] == 0, "a formula that MathJax cannot read"
    for message in ("Javascript Error", "Error displaying widget"):
        assert message not in text
