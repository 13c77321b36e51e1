"""Any media file → where it comes from: its label, its credentials, its marks, and whether they
agree. Files of others are as welcome as our own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import av

from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.media.ffmpeg import find_ffmpeg
from omnitalk_cli.media.probe import MediaInfo, probe
from omnitalk_cli.pipeline.mark_reading import MarkReading, read_audio_mark, read_video_mark
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.provenance.aigc import LABELS
from omnitalk_cli.provenance.claim import GENERATED_TYPES
from omnitalk_cli.provenance.credentials import CredentialsReading, read_credentials
from omnitalk_cli.provenance.identity import local_anchor, read_certificates
from omnitalk_cli.provenance.labels import read_label_claim
from omnitalk_cli.provenance.ledger import Entry, Ledger
from omnitalk_cli.provenance.visible_detector import VisibleFinding

T = TypeVar("T")
State = Literal["trusted", "valid-untrusted", "invalid", "detected", "detected-no-id", "absent"]
Verdict = Literal["made by omnitalk", "altered", "contradictory", "labelled only", "no mark"]

MARKED, UNMARKED, CONFLICT = 0, 1, 3

_WORDS: dict[Verdict, str] = {
    "made by omnitalk": "made by omnitalk",
    "altered": "altered since it was signed",
    "contradictory": "its marks contradict each other",
    "labelled only": "says of itself that it is AI-generated; no other mark was found",
    "no mark": "no mark found (which does not prove that it is authentic)",
}
_EXIT_CODES: dict[Verdict, int] = {
    "made by omnitalk": MARKED,
    "altered": CONFLICT,
    "contradictory": CONFLICT,
    "labelled only": MARKED,
    "no mark": UNMARKED,
}
_MOST_HASHED = 4 << 30  # bytes; a larger file is not compared with the ledger


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one kind of mark says. ``id`` has ``bits`` bits (None: it names none); ``confidence`` is
    0 to 1 where the mark is measured; ``says_generated`` whether it openly says that the file was
    made by AI, of whichever program; ``detail`` are words about it."""

    name: Literal["label", "credentials", "video", "audio"]
    state: State
    id: int | None = None
    bits: int = 0
    confidence: float | None = None
    says_generated: bool = False
    detail: str = ""

    @property
    def is_word_only(self) -> bool:
        """Whether it says what anybody can write: metadata, or a statement without a
        signature of somebody who is known."""
        return self.name == "label" or self.state in ("valid-untrusted", "invalid")

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``; ids as hexadecimal digits."""
        return asdict(self) | {"id": id_text(self.id, self.bits)}


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What is known about the file ``path``. ``entries`` are the ledger's rows for its id (of
    several the one whose file it is), ``unchanged`` whether the file is, byte for byte, the one
    that the ledger knows (None: it knows none), ``notes`` what this machine could not look up."""

    path: Path
    layers: tuple[Layer, ...]
    entries: tuple[Entry, ...] = ()
    unchanged: bool | None = None
    notes: tuple[str, ...] = ()

    @property
    def agree(self) -> bool | None:
        """Whether all ids that were read are one (None: fewer than two were read)."""
        named = [layer for layer in self.layers if layer.id is not None]
        if len(named) < 2:
            return None
        bits = min(layer.bits for layer in named)
        return len({(layer.id or 0) & ((1 << bits) - 1) for layer in named}) == 1

    @property
    def verdict(self) -> Verdict:
        """All layers together, the worst news first."""
        if any(layer.state == "invalid" for layer in self.layers):
            return "altered"
        if self.agree is False:
            return "contradictory"
        if any(
            layer.state.startswith("detected") if layer.name in ("video", "audio")
            else layer.id is not None and not layer.is_word_only
            for layer in self.layers
        ):  # fmt: skip
            return "made by omnitalk"
        said = any(layer.says_generated or layer.id is not None for layer in self.layers)
        return "labelled only" if said else "no mark"

    @property
    def exit_code(self) -> int:
        """0 marked, 1 no mark, 3 altered or contradictory."""
        return _EXIT_CODES[self.verdict]

    @property
    def words(self) -> str:
        """The verdict for people."""
        return _WORDS[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "path": str(self.path),
            "verdict": self.verdict,
            "words": self.words,
            "exit_code": self.exit_code,
            "agree": self.agree,
            "layers": {layer.name: layer.to_dict() for layer in self.layers},
            "ledger": [entry.to_dict() | {"id": id_text(entry.id, 32)} for entry in self.entries],
            "unchanged": self.unchanged,
            "notes": list(self.notes),
        }


def id_text(value: int | None, bits: int) -> str | None:
    """An id as people write it: eight hexadecimal digits, four of a 16-bit one."""
    return None if value is None else f"{value:0{bits // 4}x}"


def read_trusted(file: Path) -> str:
    """The certificates (PEM) in ``file``, for ``verify``. Raises InputError if it holds none, or
    one that cannot be read."""
    from omnitalk_cli.provenance.certificates import certificate_text

    return "".join(map(certificate_text, read_certificates(file)))


def verify(
    path: Path,
    *,
    ffmpeg: str | None = None,
    trust: str | None = None,
    progress: Progress = silent,
) -> Verification:
    """Looks for every mark in a video, sound or picture file.

    Never uses the network; long files are sampled, so time and memory are bounded. ``trust`` are
    further certificates (PEM) whose signatures are trusted, besides this user's own. Raises
    InputError for a file that cannot be read as media, SetupError without ffmpeg.
    """
    program = find_ffmpeg(ffmpeg)
    try:
        return _verify(path, program, trust, progress)
    except OSError as error:  # it went away, or its disk did, while it was read
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _verify(path: Path, program: Path, trust: str | None, progress: Progress) -> Verification:
    info = probe(path)
    notes: list[str] = []
    progress("credentials", 0, None)
    own = _looked_up(local_anchor, None, notes)
    credentials = read_credentials(path, anchors="\n".join(filter(None, (own, trust))) or None)
    pictures = read_video_mark(info, ffmpeg=program, progress=progress)
    layers = (
        _label_layer(info, pictures.label),
        _credentials_layer(credentials),
        _mark_layer("video", pictures),
        _mark_layer("audio", read_audio_mark(info, ffmpeg=program, progress=progress)),
    )
    none: tuple[Entry, ...] = ()
    entries = _looked_up(lambda: _entries(layers), none, notes)
    digest = _digest(path) if any(entry.output_hash for entry in entries) else None
    same = tuple(entry for entry in entries if entry.output_hash == digest)
    return Verification(
        path=path,
        layers=layers,
        entries=same or entries,
        unchanged=None if digest is None else bool(same),
        notes=tuple(notes),
    )


def _looked_up(look: Callable[[], T], default: T, notes: list[str]) -> T:
    """What this machine knows; a damaged key folder does not keep a file from being looked at."""
    try:
        return look()
    except SetupError as error:
        notes.append(str(error))
        return default


def _label_layer(info: MediaInfo, seen: VisibleFinding | None) -> Layer:
    """What the file says openly: words in the picture, and metadata."""
    claim = read_label_claim(_metadata(info))
    shown = f'"{seen.text}" in the picture, {seen.position}' if seen and seen.text else ""
    if claim.by_us:
        said = "made by omnitalk"
    else:
        said = "AI-generated" if claim.generated else LABELS.get(claim.aigc.get("Label", ""), "")
    words = f"metadata: {said}" if said else ""
    if producer := claim.aigc.get("ContentProducer") or claim.disclosure.get("provider"):
        words += f', by "{producer}"'
    return Layer(
        name="label",
        state="detected" if claim.generated or shown else "absent",
        says_generated=bool(claim.generated or shown),
        detail="; ".join(filter(None, (shown, words, *claim.problems))),
    )


def _metadata(info: MediaInfo) -> dict[str, str]:
    try:
        with av.open(
            str(info.path.absolute()),
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        ) as container:
            return dict(container.metadata)
    except (av.error.FFmpegError, ValueError, EOFError) as error:
        raise InputError(f"{info.path}: its metadata cannot be read") from error


def _credentials_layer(reading: CredentialsReading) -> Layer:
    generated = reading.digital_source_type in GENERATED_TYPES
    words = [
        "says AI-generated" if generated and not reading.ours else "",
        f"by {reading.signer}" if reading.signer else "",
        f"with {reading.generator}" if reading.generator else "",
        _when(reading),
        *reading.problems[:3],
    ]
    return Layer(
        name="credentials",
        state=reading.state,
        id=reading.mark_id if reading.ours else None,
        bits=reading.bits if reading.ours else 0,
        says_generated=generated and reading.state in ("trusted", "valid-untrusted"),
        detail=", ".join(filter(None, words)),
    )


def _when(reading: CredentialsReading) -> str:
    """When it was signed; only a time stamp server's word is more than the signer's own."""
    if not reading.time:
        return ""
    return f"on {reading.time}" + (" (time stamp)" if reading.time_stamped else "")


def _mark_layer(name: Literal["video", "audio"], reading: MarkReading) -> Layer:
    found = reading.detection
    if not found.present:
        return Layer(name=name, state="absent", detail=reading.problem)
    return Layer(
        name=name,
        state="detected-no-id" if found.id is None else "detected",
        id=found.id,
        bits=found.bits,
        confidence=round(found.confidence, 3),
        detail=reading.problem,
    )


def _entries(layers: tuple[Layer, ...]) -> tuple[Entry, ...]:
    """The ledger's rows for the longest id that was read; what anybody can write names none."""
    named = [layer for layer in layers if layer.id is not None and not layer.is_word_only]
    if not named:
        return ()
    best = max(named, key=lambda layer: layer.bits)
    return tuple(Ledger().find(best.id or 0, best.bits))


def _digest(path: Path) -> str | None:
    """SHA-256 of the file; None of one that is too large to be compared."""
    if path.stat().st_size > _MOST_HASHED:
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
