"""Content Credentials (C2PA): signing a finished video, and reading what any file carries.

Signing is the last write: whatever ffmpeg does to a file afterwards takes the credentials off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from omnitalk_cli.errors import InputError, UsageError, WorkError
from omnitalk_cli.provenance import c2pa_engine as engine
from omnitalk_cli.provenance.claim import Claim, ClaimInput, definition, ingredient
from omnitalk_cli.provenance.identity import Identity
from omnitalk_cli.provenance.manifest_report import CredentialsReading, line_of, report

__all__ = [
    "Claim",
    "ClaimInput",
    "CredentialsReading",
    "check_timestamp_url",
    "read_credentials",
    "sign",
]

_VIDEO = "video/mp4"
_LARGEST_MANIFEST = 1 << 20  # bytes, with the credentials of the inputs
_LARGEST_SOURCE = 1 << 28  # bytes of an input that is searched for credentials, as it is all hashed
_LARGEST_WHOLE = 1 << 28  # bytes of a file of a kind that the library reads into memory
_WHOLE_KINDS = (b"\xff\xd8\xff", b"%PDF", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")
# The type of the outermost box of every manifest store, whatever file it is in.
_STORE = bytes.fromhex("6332706100110010800000aa00389b71")
_SEARCHED = 1 << 22  # bytes at either end of a file in which that is looked for


def sign(
    source: Path,
    target: Path,
    claim: Claim,
    identity: Identity,
    *,
    timestamp_url: str | None = None,
    shown_as: Path | None = None,
) -> None:
    """Write the MP4 ``source`` with Content Credentials to ``target``, whatever their names end in.
    ``shown_as`` is what errors call the file (None: its own name), which may be a passing one.

    Nothing goes over the network unless ``timestamp_url`` names a time stamp server (RFC 3161),
    which then has 30 s to answer. On any failure there is no ``target``. Raises WorkError, and
    UsageError for an address that is none.
    """
    check_timestamp_url(timestamp_url)
    if source.exists() and target.exists() and target.samefile(source):
        raise ValueError("a file cannot be signed in its own place")
    try:
        kept = _kept(claim)
        try:
            _write(source, target, claim, kept, identity, timestamp_url)
        except engine.EngineError as error:
            # Credentials of an input that cannot be carried along must not stop the work.
            if not kept or error.kind == "Signature":
                raise
            _write(source, target, claim, {}, identity, timestamp_url)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, engine.EngineError):
            raise WorkError(_failure(shown_as or source, timestamp_url, error)) from error
        if isinstance(error, OSError):
            name = shown_as or error.filename or target
            raise WorkError(f"{name}: cannot be signed ({error.strerror or error})") from error
        raise


def check_timestamp_url(address: str | None) -> None:
    """Raises UsageError for what cannot be the address of a time stamp server; asks none."""
    if address is not None and not _is_address(address):
        raise UsageError(f"{address}: is not the address of a time stamp server (http, https)")


def read_credentials(path: Path, *, anchors: str | None = None) -> CredentialsReading:
    """What Content Credentials the file carries, told by its content, whatever its name says.

    ``anchors``: certificates (PEM) of roots whose signers are trusted. Nothing is fetched over the
    network. Files of kinds that cannot carry credentials are ``absent``, damaged ones ``invalid``,
    or ``absent`` with a problem where no trace of credentials is left. Raises InputError if the
    file, or ``anchors``, cannot be read at all.
    """
    _check_anchors(anchors)
    try:
        if not path.is_file():
            raise InputError(f"{path}: is not a file; give a video, a picture or a sound file")
        with path.open("rb") as file:
            if _is_too_large(path, file):
                return _absent("a file of this kind is not examined above 256 MiB")
            try:
                text = engine.apart(lambda watch: _store(watch(file), anchors))
            except engine.EngineError as error:
                return _unread(error, file)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    try:
        return report(json.loads(text))
    except (ValueError, RecursionError):
        return CredentialsReading(state="invalid", problems=("the credentials are malformed",))


def _check_anchors(anchors: str | None) -> None:
    """The library would take a file with broken ones for invalid, or pass over them."""
    if anchors is None:
        return
    from cryptography import x509

    try:
        x509.load_pem_x509_certificates(anchors.encode())
    except ValueError as error:
        raise InputError(
            "the trust anchors hold no readable certificate; give them as PEM "
            "(text that begins with -----BEGIN CERTIFICATE-----)"
        ) from error


def _write(
    source: Path,
    target: Path,
    claim: Claim,
    kept: Mapping[int, Sequence[str]],
    identity: Identity,
    timestamp_url: str | None,
) -> None:
    """Sign once, with the credentials of the inputs ``kept``."""
    text = json.dumps(definition(claim, kept))

    def call(watch: engine.Watch) -> int:
        with (
            engine.context(identity.anchor) as settings,
            engine.signer(identity, timestamp_url) as signer,
            engine.library().Builder(text, context=settings) as builder,
        ):
            for number in kept:
                path = claim.inputs[number].source_file
                assert path is not None
                with path.open("rb") as file:
                    kind = _kind(file)
                    how = json.dumps(ingredient(claim, number))
                    builder.add_ingredient(how, kind, watch(file))
            with source.open("rb") as before, target.open("w+b") as after:
                if _kind(before) != _VIDEO:
                    raise engine.EngineError("it is no MP4 video")
                return len(builder.sign(signer, _VIDEO, watch(before), watch(after)))

    if engine.apart(call) > _LARGEST_MANIFEST and kept:
        raise engine.EngineError("the credentials of the inputs are too large")


def _kept(claim: Claim) -> dict[int, list[str]]:
    """By number, the inputs that carry sound credentials, with what is to be taken out of them."""
    found = {}
    for number, one in enumerate(claim.inputs):
        if one.source_file is None:
            continue
        try:
            with one.source_file.open("rb") as file:
                file.seek(0, 2)
                if file.tell() > _LARGEST_SOURCE or not _kind(file):
                    continue
                text = _detailed(file)
            store = json.loads(text)
        except (engine.EngineError, OSError, ValueError, RecursionError):
            continue  # none, or none that hold
        if store.get("validation_state") in ("Trusted", "Valid"):
            found[number] = _thumbnails(store)
    return found


def _detailed(file: IO[bytes]) -> str:
    return engine.apart(lambda watch: _store(watch(file), None, detailed=True))


def _thumbnails(store: dict[str, Any]) -> list[str]:
    """The addresses of the pictures in the manifests of ``store``: they show the person."""
    return [
        f"self#jumbf=/c2pa/{manifest}/c2pa.assertions/{label}"
        for manifest, content in store.get("manifests", {}).items()
        for label in content.get("assertion_store", {})
        if label.startswith("c2pa.thumbnail.")
    ]


def _store(file: Any, anchors: str | None, *, detailed: bool = False) -> str:
    file.seek(0)
    with (
        engine.context(anchors) as settings,
        engine.library().Reader(None, file, context=settings) as reader,
    ):
        return str(reader.detailed_json() if detailed else reader.json())


def _unread(error: engine.EngineError, file: IO[bytes]) -> CredentialsReading:
    """What it means that the library could not read the file."""
    words = line_of(error.words) or "unknown"
    if error.kind in ("ManifestNotFound", "NotSupported"):
        if _has_store(file):
            return _absent("there are remains of credentials that no longer belong to the file")
        return _absent()
    if error.kind == "Remote" or error.kind == "RemoteManifest":
        return _absent(f"credentials may lie on a server, which is not asked: {words}")
    if error.kind in ("Other", "Io", "") and not _has_store(file):
        return _absent(f"the file is damaged: {words}")
    return CredentialsReading(
        state="invalid", problems=(f"the credentials cannot be read: {words}",)
    )


def _absent(*problems: str) -> CredentialsReading:
    return CredentialsReading(state="absent", problems=problems)


def _has_store(file: IO[bytes]) -> bool:
    size = file.seek(0, 2)
    file.seek(0)
    if _STORE in file.read(_SEARCHED):
        return True
    file.seek(max(0, size - _SEARCHED))
    return _STORE in file.read(_SEARCHED)


def _is_too_large(path: Path, file: IO[bytes]) -> bool:
    return path.stat().st_size > _LARGEST_WHOLE and file.read(4).startswith(_WHOLE_KINDS)


def _kind(file: IO[bytes]) -> str:
    """The media type of an input that may carry credentials, else nothing; back to its start."""
    file.seek(0)
    head = file.read(12)
    file.seek(0)
    if head[4:8] == b"ftyp":
        return _VIDEO
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    return "image/png" if head.startswith(b"\x89PNG") else ""


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable()
    except ValueError:
        return False


def _failure(source: Path, timestamp_url: str | None, error: engine.EngineError) -> str:
    words = line_of(error.words) or "unknown"
    if timestamp_url is not None and error.kind in ("Signature", "Verify"):
        return (
            f"{timestamp_url}: no time stamp that holds came from this server ({words}); "
            "try again, name another server, or sign without"
        )
    return f"{source}: Content Credentials cannot be written ({words})"
