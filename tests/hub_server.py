"""A stand-in for the Hugging Face hub on the loopback, which can misbehave on purpose."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = 4096


@dataclass
class Asked:
    """A request as it came in."""

    method: str
    path: str
    range: str
    authorization: str
    agent: str


@dataclass
class Hub:
    """Repositories by OWNER/NAME, and what goes wrong with files of theirs (by name).

    Large files (``large``) are announced with their SHA-256 and come from another host, as on the
    hub; others have a git hash. ``cut``: how many bytes each answer sends before the connection
    breaks, one number an answer. ``lie``: what is sent instead. ``status``: HTTP answers instead.
    ``slow``: seconds between pieces of 4 KiB.
    """

    commit: str = "c0ffee" * 6 + "c0ff"
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    token: str = ""
    cut: dict[str, list[int]] = field(default_factory=dict)
    lie: dict[str, bytes] = field(default_factory=dict)
    status: dict[str, list[int]] = field(default_factory=dict)
    slow: float = 0.0
    ignores_ranges: bool = False
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        """The address of the hub."""
        return f"http://127.0.0.1:{self.port}"

    def ranges(self, name: str) -> list[str]:
        """The Range headers of all requests for the content of ``name`` ('' for none)."""
        return [
            ask.range
            for ask in self.asked
            if ask.method == "GET" and ask.path.endswith(name) and "/cdn/" in ask.path
        ]


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Runs the server while the block lasts; sets ``hub.port``."""

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        hub = self.state
        header = self.headers
        hub.asked.append(
            Asked(
                method=self.command, path=self.path, range=header.get("Range", ""),
                authorization=header.get("Authorization", ""), agent=header.get("User-Agent", ""),
            )
        )  # fmt: skip
        parts = self.path.lstrip("/").split("/")
        if parts[0] == "cdn":
            name = "/".join(parts[3:])
            self._content(name, hub.files["/".join(parts[1:3])][name], body=body)
            return
        repository, revision, name = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        if repository in hub.gated and header.get("Authorization") != f"Bearer {hub.token}":
            self._refuse(401, "GatedRepo")
        elif repository not in hub.files:
            self._refuse(404, "RepoNotFound")
        elif revision not in ("main", hub.commit):
            self._refuse(404, "RevisionNotFound")
        elif name not in hub.files[repository]:
            self._refuse(404, "EntryNotFound")
        elif hub.status.get(name) and body:
            self._refuse(hub.status[name].pop(0), "")
        else:
            self._resolve(repository, name)

    def _resolve(self, repository: str, name: str) -> None:
        """To the content on another host, with what the hub says of the file."""
        hub = self.state
        content = hub.files[repository][name]
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        etag = hashlib.sha256(content).hexdigest() if name in hub.large else git
        self.send_response(302)
        self.send_header("Location", f"http://localhost:{hub.port}/cdn/{repository}/{name}")
        self.send_header("X-Repo-Commit", hub.commit)
        self.send_header("ETag", f'"{git}"')
        self.send_header("X-Linked-Etag", f'"{etag}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _content(self, name: str, content: bytes, *, body: bool) -> None:
        hub = self.state
        content = hub.lie.get(name, content)
        start = 0
        wanted = self.headers.get("Range", "")
        if wanted and not hub.ignores_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not body:
            return
        cuts = hub.cut.get(name)
        end = start + cuts.pop(0) if cuts else len(content)
        self._send(content[start:end])
        if end < len(content):
            self.close_connection = True

    def _send(self, content: bytes) -> None:
        try:
            for begin in range(0, len(content), CHUNK):
                piece = content[begin : begin + CHUNK]
                self.wfile.write(piece)
                self.wfile.flush()
                self.state.sent += len(piece)
                if self.state.slow:
                    time.sleep(self.state.slow)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has gone

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()
