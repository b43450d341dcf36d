"""A real Chromium and a real JupyterLab, driven from a test.

In: notebooks written by the test, Chromium found by tests/tools/prepare.py. Out: plain functions
that open a notebook, run it, and read values back from the kernel behind the page. They talk to
JupyterLab's own application object (`window.jupyterapp`), which is far steadier than menus and
clicks; real clicks and keys are for the widget. Everything waits with a limit, and a server that
was started is always stopped.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from playwright.sync_api import Browser, Page

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
START_LIMIT = 90.0  # seconds for a server to answer
KERNEL_LIMIT = 90.0  # seconds for a kernel to come up
CELLS_LIMIT = 120.0  # seconds for cells to run

FLAGS = [
    "--no-sandbox",  # root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--force-color-profile=srgb",
    # nothing but loopback resolves: whatever asks for another host fails at once, and is seen
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
_INSIDE = re.compile(
    r"^(?:(?:https?|wss?)://(?:127\.0\.0\.1|localhost)[:/]|blob:|data:|about:|file:)"
)

_KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"


class KernelError(AssertionError):
    """Code that a test ran in the kernel raised; the message is the traceback."""


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab (or Notebook 7) on loopback, and the folder that it shows."""

    url: str
    token: str
    root: Path
    app: str = "lab"

    def notebook_url(self, path: Path) -> str:
        where = "lab/tree" if self.app == "lab" else "notebooks"
        return (
            f"{self.url}/{where}/{path.relative_to(self.root).as_posix()}?token={self.token}&reset"
        )

    def api(self, method: str, path: str, timeout: float = 20) -> Any:
        """Ask the server's REST interface; the answer's JSON, or None where there is none."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            body = answer.read()
        return json.loads(body) if body else None


# --- servers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(app: str, root: Path, scratch: Path) -> Iterator[Lab]:
    """Run JupyterLab ("lab") or Notebook 7 ("notebook") on `root`, with settings in `scratch`."""
    lab = Lab(f"http://127.0.0.1:{free_port()}", secrets.token_hex(16), root, app)
    name = {"lab": "LabApp", "notebook": "JupyterNotebookApp"}[app]
    settings = scratch / "settings"
    silent = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    silent.parent.mkdir(parents=True, exist_ok=True)
    silent.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}), "utf-8")
    env = dict(
        os.environ,
        JUPYTER_CONFIG_DIR=str(scratch / "config"),
        JUPYTER_DATA_DIR=str(scratch / "data"),
        JUPYTER_RUNTIME_DIR=str(scratch / "runtime"),
        JUPYTERLAB_SETTINGS_DIR=str(settings),
        JUPYTERLAB_WORKSPACES_DIR=str(scratch / "workspaces"),
        IPYTHONDIR=str(scratch / "ipython"),
        JUPYTER_PLATFORM_DIRS="1",
        OPENBLAS_NUM_THREADS="1",
    )
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # kernels would compile torch's sources at each start
    log = scratch / f"{app}.log"
    command = [
        sys.executable,
        "-m",
        "jupyter",
        app,
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={lab.url.rsplit(':', 1)[1]}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={lab.token}",
        "--allow-root",
        f"--ServerApp.root_dir={root}",
        f"--{name}.expose_app_in_browser=True",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with log.open("w") as sink:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _await_server(lab, process, log)
            yield lab
        finally:
            _stop(lab, process)


def _await_server(lab: Lab, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_LIMIT
    while True:
        if process.poll() is None and time.monotonic() < end:
            try:
                lab.api("GET", "status", timeout=2)
                return
            except OSError:
                time.sleep(0.1)
                continue
        raise RuntimeError(f"the Jupyter server did not start:\n{log.read_text()[-3000:]}")


def _stop(lab: Lab, process: subprocess.Popen[bytes]) -> None:
    """End the kernels, then the server, then whatever is left of the process group.

    A server whose page vanished while a kernel's socket was still connecting can hang in its
    own shutdown.
    """
    if process.poll() is None:
        with suppress(OSError):  # the group is ended below
            for kernel in lab.api("GET", "kernels"):
                lab.api("DELETE", f"kernels/{kernel['id']}")
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(8)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


# --- pages


def watch_requests(page: Page) -> list[str]:
    """The list that every request to a place other than this machine is added to."""
    outside: list[str] = []

    def note(url: str) -> None:
        if not _INSIDE.match(url):
            outside.append(url)

    page.context.on("request", lambda request: note(request.url))
    page.on("websocket", lambda websocket: note(websocket.url))
    return outside


def wait_until(what: str, probe: Callable[[], T], timeout: float = 30.0) -> T:
    """Ask again and again until the answer is true; the answer."""
    end = time.monotonic() + timeout
    while not (answer := probe()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what}; last answer {answer!r}")
        time.sleep(0.05)
    return answer


def screenshot(page: Page, name: str) -> Path:
    """The page as a picture in build/screenshots, to be looked at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path)
    return path


# --- notebooks


def write_notebook(path: Path, cells: Sequence[str], kernel: str = "python3") -> Path:
    """A notebook of code cells; a cell that begins with "# %% [markdown]" is prose."""
    written = []
    for number, source in enumerate(cells):
        cell: dict[str, Any] = {"id": f"cell-{number}", "metadata": {}}
        head, _, rest = source.partition("\n")
        if head.strip() == "# %% [markdown]":
            cell |= {"cell_type": "markdown", "source": rest}
        else:
            cell |= {"cell_type": "code", "source": source, "execution_count": None, "outputs": []}
        written.append(cell)
    spec = {"name": kernel, "display_name": kernel, "language": "python"}
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": spec, "language_info": {"name": "python"}},
        "cells": written,
    }
    path.write_text(json.dumps(notebook, indent=1), "utf-8")
    return path


def open_notebook(page: Page, lab: Lab, path: Path) -> None:
    """Show the notebook and wait for its kernel."""
    page.goto(lab.notebook_url(path), timeout=60_000)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    wait_kernel_idle(page)


@contextmanager
def new_page(browser: Browser, *, height: int = 900, timeout: float = 20.0) -> Iterator[Page]:
    """A page of its own; a request to anywhere outside this machine fails."""
    context = browser.new_context(viewport={"width": 1280, "height": height})
    context.set_default_timeout(1000 * timeout)
    page = context.new_page()
    outside = watch_requests(page)
    try:
        yield page
    finally:
        context.close()
    assert not outside, f"the page asked for {outside}"


@contextmanager
def notebook(
    browser: Browser, lab: Lab, name: str, cells: Sequence[str], *, height: int
) -> Iterator[Page]:
    """A page of its own with a notebook of these cells, which have run."""
    with new_page(browser, height=height) as page:
        open_notebook(page, lab, write_notebook(lab.root / f"{name}.ipynb", cells))
        run_all(page)
        yield page
        close_notebook(page, lab)


def reload(page: Page) -> None:
    """Reload the page and wait until it is connected to the kernel that went on running."""
    page.reload(timeout=60_000)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    wait_kernel_idle(page)


def wait_kernel_idle(page: Page, timeout: float = KERNEL_LIMIT) -> None:
    """Wait until the kernel is connected and has nothing to do."""
    page.wait_for_function(
        f"() => {{ const k = {_KERNEL}; "
        "return k && k.connectionStatus === 'connected' && k.status === 'idle'; }",
        timeout=timeout * 1000,
    )


def run_command(page: Page, command: str, timeout: float = CELLS_LIMIT, **args: Any) -> None:
    """One of JupyterLab's commands, such as "docmanager:save"; returns when it is done."""
    done = page.evaluate(
        "([command, args, limit]) => Promise.race(["
        "window.jupyterapp.commands.execute(command, args).then(() => true),"
        "new Promise(r => setTimeout(() => r(false), limit))])",
        [command, args, timeout * 1000],
    )
    assert done, f"{command}: no end within {timeout:g} s"


def run_all(page: Page, timeout: float = CELLS_LIMIT) -> None:
    """Run every cell and wait for the last; a cell that raised is an error here."""
    run_command(page, "notebook:run-all-cells", timeout)
    # The command can end before the page has worked off what the kernel sent. The page handles
    # messages in order, so once one more request is through, every output is in its cell.
    kernel_eval(page, "pass", timeout)
    wait_kernel_idle(page, timeout)
    errors = page.evaluate(
        "() => [...window.jupyterapp.shell.currentWidget.content.model.cells]"
        ".flatMap(c => c.type === 'code' ? c.sharedModel.getOutputs() : [])"
        ".filter(o => o.output_type === 'error').map(o => (o.traceback ?? []).join('\\n'))"
    )
    if errors:
        raise KernelError("\n".join(_plain(error) for error in errors))


def save(page: Page) -> None:
    run_command(page, "docmanager:save")


def kernel_eval(page: Page, code: str, timeout: float = 60.0) -> str:
    """Run code in the notebook's own kernel; what it printed. An exception there is raised here."""
    answer = page.evaluate(
        f"""async ([code, limit]) => {{
          const kernel = {_KERNEL};
          if (!kernel) return {{error: 'the notebook has no kernel'}};
          let out = '', error = null;
          const request = {{code, store_history: false, stop_on_error: false}};
          const future = kernel.requestExecute(request);
          future.onIOPub = ({{header, content}}) => {{
            if (header.msg_type === 'stream' && content.name === 'stdout') out += content.text;
            if (header.msg_type === 'error') error = content.traceback.join('\\n');
          }};
          const late = new Promise(r => setTimeout(() => r('late'), limit));
          const end = await Promise.race([future.done.then(() => 'done'), late]);
          if (end === 'late') {{ future.dispose(); error = 'no answer in time'; }}
          return {{out, error}};
        }}""",
        [code, timeout * 1000],
    )
    if answer.get("error"):
        raise KernelError(_plain(answer["error"]))
    return str(answer["out"]).strip()


def kernel_json(page: Page, expression: str, timeout: float = 60.0) -> Any:
    """The value of a Python expression in the kernel, by way of JSON."""
    # base64 keeps the expression out of any quoting
    packed = base64.b64encode(expression.encode()).decode()
    code = (
        "import base64 as _b, json as _j\n"
        f"print(_j.dumps(eval(_b.b64decode('{packed}').decode())))\ndel _b, _j"
    )
    return json.loads(kernel_eval(page, code, timeout))


def kernel_id(page: Page) -> str:
    return str(page.evaluate(f"() => {_KERNEL}.id"))


def shutdown_kernel(page: Page, lab: Lab) -> None:
    """End the notebook's kernel behind its back, as a culling server does; the page stays."""
    number = kernel_id(page)
    lab.api("DELETE", f"kernels/{number}")
    wait_until(
        "the kernel is gone",
        lambda: all(kernel["id"] != number for kernel in lab.api("GET", "kernels")),
    )


def close_notebook(page: Page, lab: Lab) -> None:
    """Leave the page and end the kernels that the sessions hold."""
    page.goto("about:blank")
    for session in lab.api("GET", "sessions"):
        with suppress(urllib.error.HTTPError):  # its kernel was ended by the test
            lab.api("DELETE", f"sessions/{session['id']}")


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
