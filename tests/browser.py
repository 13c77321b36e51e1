"""A headless browser for tests: Chromium over its debugging pipe, without any driver program.

The protocol is JSON messages that end with a zero byte, written to descriptor 3 of the browser and
read from its descriptor 4 (Chrome DevTools Protocol, ``--remote-debugging-pipe``).
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60.0


def find_browser() -> str | None:
    """The program that ``OMNITALK_TEST_BROWSER`` names, or one of the usual names; None: none."""
    named = os.environ.get("OMNITALK_TEST_BROWSER")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a headless browser with an own, empty profile in ``folder``."""

    def __init__(self, program: str, folder: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._inbox: queue.Queue[dict[str, Any]] = queue.Queue()
        self._session = ""
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--mute-audio", "--autoplay-policy=user-gesture-required",
            "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={folder}",
        ]  # fmt: skip
        # Above 9, so that neither is 3 or 4 itself.
        to_read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())
        read, to_write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())

        def place() -> None:
            os.dup2(to_read, 3)
            os.dup2(to_write, 4)

        self._process = subprocess.Popen(
            command, preexec_fn=place, pass_fds=(3, 4),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._out = os.fdopen(write, "wb", buffering=0)
        self._in = os.fdopen(read, "rb")
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Browser:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        answer = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = answer["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session = ""
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (subprocess.TimeoutExpired, OSError, queue.Empty):
            self._process.kill()
            self._process.wait()
        self._out.close()

    def _listen(self) -> None:
        waiting = b""
        while chunk := os.read(self._in.fileno(), 1 << 16):
            *messages, waiting = (waiting + chunk).split(b"\0")
            for message in messages:
                self._inbox.put(json.loads(message))

    def _receive(self, patience: float) -> dict[str, Any]:
        message = self._inbox.get(timeout=patience)
        if "method" in message:
            self.events.append(message)
        return message

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(PATIENCE)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def open(self, address: str) -> None:
        """Go to ``address``; return when the page and all that belongs to it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=address)
        self.until(lambda: bool(self.seen("Page.loadEventFired")))

    def reload(self) -> None:
        """Load the page again."""
        self.events.clear()
        self.call("Page.reload")
        self.until(lambda: bool(self.seen("Page.loadEventFired")))

    def run(self, script: str, *, gesture: bool = False) -> Any:
        """The value of an expression in the page (promises are awaited); ``gesture``: as a user."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True,
            userGesture=gesture, allowUnsafeEvalBlockedByCSP=False,
        )  # fmt: skip
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until ``condition`` holds."""
        end = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < end, "the page did not get there in time"
            try:
                self._receive(0.05)
            except queue.Empty:
                pass

    def press(self, key: str) -> None:
        """Press and release a key: a letter, or a name such as ``Enter``."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        codes = {"Escape": 27, "Tab": 9, "Enter": 13}
        code = codes.get(key, ord(key.upper()[0]))
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code,
                **(text if kind == "keyDown" else {}),
            )  # fmt: skip

    def type(self, text: str) -> None:
        """Put ``text`` where the focus is."""
        self.call("Input.insertText", text=text)

    def picture(self, path: Path, width: int, height: int, *, dark: bool = False) -> None:
        """Write a PNG of the page in a window of this size."""
        self.resize(width, height)
        self.prefer(dark=dark)
        answer = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def prefer(self, *, dark: bool) -> None:
        """Let the page see a user who likes dark, or light, colours."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def seen(self, method: str) -> list[dict[str, Any]]:
        """The parameters of all events of this name since the page was opened."""
        return [event["params"] for event in self.events if event["method"] == method]

    def complaints(self) -> list[str]:
        """Everything that the console would show in red or yellow."""
        told = [str(e["exceptionDetails"]) for e in self.seen("Runtime.exceptionThrown")]
        for event in self.seen("Runtime.consoleAPICalled"):
            if event["type"] in ("error", "warning", "assert"):
                told.append(str(event["args"]))
        for event in self.seen("Log.entryAdded"):
            if event["entry"]["level"] in ("error", "warning"):
                told.append(event["entry"]["text"])
        return told

    def requests(self) -> list[str]:
        """The addresses of everything that the page asked for and was not kept from."""
        kept = {e["requestId"] for e in self.seen("Network.loadingFailed") if "blockedReason" in e}
        sent = self.seen("Network.requestWillBeSent")
        return [event["request"]["url"] for event in sent if event["requestId"] not in kept]
