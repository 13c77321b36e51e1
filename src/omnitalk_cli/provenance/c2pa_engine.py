"""The C2PA library behind one door: its settings, its errors in words, and nothing on the network.

Calls into it run on a thread of their own: they take long for long files, and the library would
swallow a Ctrl-C.
"""

from __future__ import annotations

import io
import json
import struct
import threading
import zlib
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, TypeVar

from omnitalk_cli.errors import SetupError

if TYPE_CHECKING:
    from omnitalk_cli.provenance.identity import Identity

T = TypeVar("T")
Watch = Callable[[IO[bytes]], Any]

# Purposes that a signer of Content Credentials may have, as in the trust list's configuration:
# emailProtection, documentSigning, Microsoft's C2PA signing, c2pa-kp-claimSigning.
SIGNING_PURPOSES = (
    "1.3.6.1.5.5.7.3.4",
    "1.3.6.1.5.5.7.3.36",
    "1.3.6.1.4.1.311.76.59.1.9",
    "1.3.6.1.4.1.62558.2.1",
)

_POLL_SECONDS = 0.2
_STOP_SECONDS = 10.0  # at most, for the library to notice that its files fail
_TIME_STAMPING = ("1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.9")  # and revocation answers
_SETTINGS: dict[str, Any] = {
    "version": 1,
    # No host is allowed: an explicit time stamp server of a signer is not meant by this.
    "core": {
        "allowed_network_hosts": [],
        "allow_redirects": False,
        "decode_identity_assertions": False,
        "max_decompressed_manifest_size_in_mb": 32,
    },
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": True},
    "trust": {"trust_config": "\n".join((*SIGNING_PURPOSES, *_TIME_STAMPING))},
    "builder": {
        "thumbnail": {"enabled": False},
        # Left out of the hash, these boxes could be changed unseen.
        "bmff_hash_exclude_free_and_skip_boxes": False,
    },
}


class EngineError(Exception):
    """What the library complains of: its ``kind`` of error, and its words."""

    def __init__(self, text: str) -> None:
        kind, colon, words = text.partition(": ")
        self.kind, self.words = (kind, words) if colon else ("", text)
        super().__init__(self.words)


def library() -> Any:
    """The module ``c2pa``, loaded on first use. Raises SetupError where it does not load."""
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError) as error:
        raise SetupError(
            f"the library for Content Credentials does not load ({error}); "
            "run `pip install --force-reinstall c2pa-python`"
        ) from error
    return c2pa


def context(anchors: str | None = None) -> Any:
    """A context of the library with our settings; ``anchors`` (PEM) are trusted as roots."""
    settings = dict(_SETTINGS)
    if anchors:
        settings["trust"] = {**_SETTINGS["trust"], "user_anchors": anchors}
    return library().Context.from_json(json.dumps(settings))


def signer(identity: Identity, timestamp_url: str | None = None) -> Any:
    """The library's signer for ``identity``."""
    c2pa = library()
    info = c2pa.C2paSignerInfo(
        identity.algorithm.encode(),
        identity.chain.encode(),
        identity.private_key.encode(),
        timestamp_url.encode() if timestamp_url else None,
    )
    return c2pa.Signer.from_info(info)


class _Watched:
    """A file that fails once ``stopped`` is set, which ends whatever the library does with it."""

    def __init__(self, file: IO[bytes], stopped: threading.Event) -> None:
        self._file, self._stopped = file, stopped

    def __getattr__(self, name: str) -> Any:
        if self._stopped.is_set():
            raise OSError("interrupted")
        return getattr(self._file, name)


def apart(call: Callable[[Watch], T]) -> T:
    """``call(watch)`` on a thread of its own, so that Ctrl-C gets through however long it takes.

    ``call`` must hand files to the library as ``watch(file)``: their failing ends its work then.
    Raises EngineError for whatever the library raises; other errors pass as they are.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    stopped, ended = threading.Event(), threading.Event()
    known = library().C2paError

    def run() -> None:
        try:
            results.append(call(lambda file: _Watched(file, stopped)))
        except BaseException as error:  # told below, on the caller's thread
            errors.append(error)
        finally:
            ended.set()

    threading.Thread(target=run, name="content-credentials", daemon=True).start()
    try:
        # Not Thread.join(): interrupted, it takes a running thread for an ended one (bpo-45274).
        while not ended.wait(_POLL_SECONDS):
            pass
    except BaseException:
        stopped.set()
        ended.wait(_STOP_SECONDS)
        raise
    if not errors:
        return results[0]
    if isinstance(errors[0], known):
        raise EngineError(str(errors[0])) from errors[0]
    raise errors[0]


def trial(identity: Identity) -> str | None:
    """Sign a picture of one pixel: None if that works, else why not."""
    definition = {
        "claim_generator_info": [{"name": "omnitalk"}],
        "format": "image/png",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [_CREATED]}}],
    }

    def call(watch: Watch) -> None:
        with signer(identity) as ours, context() as settings:
            builder = library().Builder(json.dumps(definition), context=settings)
            with builder:
                builder.sign(ours, "image/png", io.BytesIO(_pixel()), io.BytesIO())

    try:
        apart(call)
    except EngineError as error:
        return " ".join(error.words.split())
    return None


_CREATED = {
    "action": "c2pa.created",
    "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCreation",
}


def _pixel() -> bytes:
    """A PNG of one black pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")
