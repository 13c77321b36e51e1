"""The marks of one video while it is made: an id that the ledger knows, in its pictures, in its
sound and in its signed credentials. Nothing that the command line offers leaves these out."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli import __version__
from omnitalk_cli.errors import UsageError
from omnitalk_cli.media.files import part_path
from omnitalk_cli.provenance import audio_mark
from omnitalk_cli.provenance.claim import InputKind
from omnitalk_cli.provenance.credentials import Claim, ClaimInput, check_timestamp_url, sign
from omnitalk_cli.provenance.identity import (
    Identity,
    given_identity,
    local_anchor,
    local_identity,
)
from omnitalk_cli.provenance.keys import check_key_folder
from omnitalk_cli.provenance.labels import SYSTEM, TITLE
from omnitalk_cli.provenance.ledger import Ledger
from omnitalk_cli.provenance.text import cleaned
from omnitalk_cli.provenance.video_mark import VideoMark, VideoMarker
from omnitalk_cli.types import SAMPLE_RATE, Float, Performance

LAYERS = ("video", "audio", "credentials")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FULL_BITS = 32
_MOST_LETTERS = 200  # of the model's name


def choose_identity(certificate: Path | None, key: Path | None) -> Identity:
    """Who signs: the owner of the given certificate, else an identity of this user's own.

    Raises UsageError when only one of the two is given, and what ``given_identity`` and
    ``local_identity`` raise.
    """
    if certificate is None and key is None:
        return local_identity()
    if certificate is None or key is None:
        raise UsageError("--sign-cert and --sign-key belong together; give both")
    return given_identity(certificate, key)


def check_marking(certificate: Path | None, key: Path | None, timestamp_url: str | None) -> None:
    """Finds out before the work whether it can be signed and entered, as far as that goes without
    asking a server; makes nothing. Raises what ``choose_identity`` and ``Ledger`` raise, and
    UsageError."""
    check_timestamp_url(timestamp_url)
    if certificate is None and key is None:
        local_anchor()
    else:
        choose_identity(certificate, key)
    Ledger().find(0)
    check_key_folder()


class Marking:
    """The marks of the file ``output``; made before the work, when it enters the id in the ledger.

    ``composite``: the video holds pictures or sound that were not generated. ``provider`` is
    who answers for it. Content Credentials of the reference ``clip`` itself are kept. Raises
    SetupError when the ledger cannot be written.
    """

    def __init__(
        self,
        output: Path,
        performance: Performance,
        *,
        reference_sha256: str,
        composite: bool,
        identity: Identity,
        provider: str = SYSTEM,
        clip: Path | None = None,
        timestamp_url: str | None = None,
    ) -> None:
        settings = performance.settings
        self._output = output
        self._clip = clip
        self._model = cleaned(str(settings.get("model", "")), _MOST_LETTERS)
        self._inputs: dict[InputKind, str] = {
            "reference": _hash(reference_sha256),
            "script": _hash(settings.get("script_sha256")),
            "recording": _hash(settings.get("audio_sha256")),
        }
        self._weights = _hash(settings.get("model_sha256"))
        self._composite = composite
        self._identity = identity
        self._provider = provider
        self._timestamp_url = timestamp_url
        self._ledger = Ledger()
        self.id = self._ledger.record(
            version=__version__,
            output_name=output.name,
            weights_hash=self._weights,
            reference_hash=self._inputs["reference"],
            text_hash=self._inputs["script"] or self._inputs["recording"],
        )

    @property
    def name(self) -> str:
        """The id as people write it: eight hexadecimal digits."""
        return f"{self.id:08x}"

    def pictures(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """``frames`` (``uint8 [H,W,3]`` RGB) with the video mark, one by one."""
        marker = VideoMarker(VideoMark(id=self.id, bits=_FULL_BITS))
        for frame in frames:
            yield marker.mark(frame)

    def sound(self, samples: Float) -> Float:
        """``samples [S]`` (24 kHz) with the audio mark."""
        bits = audio_mark.payload_bits(len(samples) / SAMPLE_RATE)
        return audio_mark.embed(samples, self.id, bits)

    def sign(self, path: Path) -> None:
        """Puts Content Credentials into the finished file at ``path``, its last change."""
        claim = Claim(
            title=TITLE,
            provider=self._provider,
            version=__version__,
            created=datetime.now(UTC),
            composite=self._composite,
            mark_id=self.id,
            bits=_FULL_BITS,
            marks=("video", "audio"),
            inputs=tuple(
                ClaimInput(
                    kind=kind,
                    sha256=value,
                    source_file=self._clip if kind == "reference" else None,
                )
                for kind, value in self._inputs.items()
                if value
            ),
            model=self._model,
            weights_sha256=self._weights,
        )
        signed = part_path(path)
        try:
            sign(
                path, signed, claim, self._identity,
                timestamp_url=self._timestamp_url, shown_as=self._output,
            )  # fmt: skip
            os.replace(signed, path)
        finally:
            signed.unlink(missing_ok=True)

    def complete(self, path: Path, *, labelled: bool) -> None:
        """Enters the finished file in the ledger."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        layers = (("visible",) if labelled else ()) + LAYERS
        self._ledger.complete(self.id, output_hash=digest, marks=layers)


def _hash(value: Any) -> str:
    """``value`` when it is a SHA-256, else nothing: performance files come from anywhere."""
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else ""
