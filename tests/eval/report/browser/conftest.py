"""Chromium without a window, driven over the DevTools pipe: no driver, no port, no network."""

import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nsgauge.eval.report.contents import build_report
from nsgauge.eval.report.writing import write_report
from nsgauge.records import SCORES_SCHEMA

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)
_PATIENCE_SECONDS = 60.0
_FAULTS = (
    "Log.entryAdded",
    "Page.javascriptDialogOpening",
    "Page.windowOpen",
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
)


class Browser:
    """One tab; every request, dialog and console line of it is kept."""

    def __init__(self, profile: Path, executable: str) -> None:
        child_reads, self._to = os.pipe()
        self._from, child_writes = os.pipe()
        quiet = os.open(os.devnull, os.O_WRONLY)
        command = [executable, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        # Chromium reads commands from its descriptor 3 and writes to its 4.
        actions = [
            (os.POSIX_SPAWN_DUP2, child_reads, 3),
            (os.POSIX_SPAWN_DUP2, child_writes, 4),
            (os.POSIX_SPAWN_DUP2, quiet, 1),
            (os.POSIX_SPAWN_DUP2, quiet, 2),
        ]
        self._pid = os.posix_spawn(
            executable, command, os.environ, file_actions=actions, setpgroup=0
        )
        for descriptor in (child_reads, child_writes, quiet):
            os.close(descriptor)
        self._buffer, self._count, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        self._attach()

    def _attach(self) -> None:
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        found = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a DevTools method and wait for its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError("the browser said nothing")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def open(self, page: Path) -> None:
        """Load a file and wait until it stands."""
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def run(self, expression: str) -> Any:
        """The JSON value of an expression; promises are awaited, the page's policy isn't asked."""
        found = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def show(self, *, scheme: str = "light", width: int = 1200, media: str = "screen") -> None:
        """Pretend to be a screen (or paper) of that width and colour scheme."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=media, features=features)
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 700,
        )

    def asked_for(self) -> list[str]:
        """The addresses asked for since the page was opened; pictures inside it don't count."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        addresses = [event["params"]["request"]["url"] for event in sent]
        return [address for address in addresses if not address.startswith("data:image/")]

    def faults(self) -> list[dict[str, Any]]:
        """Errors, console lines, dialogs and windows since the page was opened."""
        return [event for event in self.events if event["method"] in _FAULTS]

    def close(self) -> None:
        """End the browser and all its processes."""
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        for descriptor in (self._to, self._from):
            os.close(descriptor)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("no chromium on this machine: the page is not opened in a browser")
    started = Browser(tmp_path_factory.mktemp("profile"), executable)
    yield started
    started.close()


@pytest.fixture(scope="session")
def full_report(simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report folder with every section."""
    world = simulated(60, judged_share=0.7)
    table = pa.Table.from_pylist(world.scores, schema=SCORES_SCHEMA)
    runs = ("shuffled_images", "blank_images", "prompt_response", "response_only")
    out = tmp_path_factory.mktemp("full")
    write_report(build_report(world.inputs(controls=dict.fromkeys(runs, table))), out)
    return out
