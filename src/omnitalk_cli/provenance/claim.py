"""What Content Credentials say of a generated video, and how C2PA has it written.

Inputs enter as ingredients by their SHA-256 only: no content, no thumbnail, no file name.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

GENERATOR = "omnitalk"
GENERATION_LABEL = "com.omnitalk.generation"
SOFT_BINDING_LABEL = "c2pa.soft-binding"
ACTIONS_LABEL = "c2pa.actions"
# Names of the algorithms of soft bindings: reversed domain name, as in C2PA's list of them.
MARK_ALGORITHMS = {"video": "com.omnitalk.video-mark.1", "audio": "com.omnitalk.audio-mark.1"}

# IPTC's digital source types of a file that is generated, and of one that partly is.
GENERATED_TYPES = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")

InputKind = Literal["reference", "script", "recording"]

_TITLES: dict[str, str] = {
    "reference": "reference clip",
    "script": "script",
    "recording": "recorded speech",
}
_HASH = re.compile(r"[0-9a-f]{64}")
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@dataclass(frozen=True, kw_only=True)
class ClaimInput:
    """Something that the video was made from: its ``kind`` and SHA-256 (64 lower-case digits).

    ``source_file``, if it is at hand, is searched for Content Credentials of its own; those are
    kept as the ingredient's (without thumbnails), nothing else of it.
    """

    kind: InputKind
    sha256: str
    source_file: Path | None = None

    def __post_init__(self) -> None:
        if self.kind not in _TITLES:
            raise ValueError(f"an input is one of {', '.join(_TITLES)}, not {self.kind}")
        _checked_hash(self.sha256)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is said about a file.

    ``title``: a name for people; ``version``: omnitalk's; ``created``: with a time zone;
    ``composite``: pasted back into footage, else every pixel is generated; ``mark_id`` of ``bits``
    (16 or 32), None without one; ``marks``: layers of marks, of which ``video`` and ``audio``
    carry the id; ``model`` and the SHA-256 of its weights; ``provider``: who offers the system.
    """

    title: str
    version: str
    created: datetime
    composite: bool = False
    mark_id: int | None = None
    bits: int = 32
    marks: tuple[str, ...] = ()
    inputs: tuple[ClaimInput, ...] = ()
    model: str = ""
    weights_sha256: str = ""
    provider: str = GENERATOR

    def __post_init__(self) -> None:
        if self.created.tzinfo is None:
            raise ValueError("the time of a claim needs a time zone")
        if self.bits not in (16, 32):
            raise ValueError(f"an id has 16 or 32 bits, not {self.bits}")
        if self.mark_id is not None and not 0 <= self.mark_id < 1 << self.bits:
            raise ValueError(f"{self.mark_id} is no id of {self.bits} bits")
        if self.weights_sha256:
            _checked_hash(self.weights_sha256)

    @property
    def time(self) -> str:
        """``created`` in UTC, ISO 8601, to the second."""
        return self.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def source_type(self) -> str:
        """IPTC's digital source type, as an address."""
        return _SOURCE_TYPE + GENERATED_TYPES[self.composite]

    @property
    def id_text(self) -> str | None:
        """The id in hexadecimal: 8 digits, or 4 for 16 bits."""
        return None if self.mark_id is None else f"{self.mark_id:0{self.bits // 4}x}"


def definition(claim: Claim, kept: Mapping[int, Sequence[str]]) -> dict[str, Any]:
    """The manifest of ``claim``, as the C2PA library's builder takes it.

    ``kept``: by their number, the inputs whose own manifest is added afterwards (see
    ``ingredient``), with the addresses of what is to be taken out of that manifest.
    """
    created = {
        "action": "c2pa.created",
        "when": claim.time,
        "softwareAgent": {"name": GENERATOR, "version": claim.version},
        "digitalSourceType": claim.source_type,
    }
    if claim.inputs:
        ids = [ingredient(claim, number)["label"] for number in range(len(claim.inputs))]
        created["parameters"] = {"ingredientIds": ids}
    removed = [address for addresses in kept.values() for address in addresses]
    bindings = _soft_bindings(claim)
    actions = [created, *map(_redaction, removed)]
    if bindings:
        actions.append({"action": "c2pa.watermarked.bound", "when": claim.time})
    assertions = [
        {
            "label": "c2pa.actions.v2",
            "created": True,
            "data": {"actions": actions, "allActionsIncluded": True},
        },
        *bindings,
        {"label": GENERATION_LABEL, "created": True, "data": _generation(claim)},
        {"label": "cawg.metadata", "kind": "Json", "data": _metadata(claim)},
    ]
    others = [number for number in range(len(claim.inputs)) if number not in kept]
    result: dict[str, Any] = {
        "claim_generator_info": [{"name": GENERATOR, "version": claim.version}],
        "title": claim.title,
        "format": "video/mp4",
        "ingredients": [ingredient(claim, number) for number in others],
        "assertions": assertions,
    }
    return result | ({"redactions": removed} if removed else {})


def ingredient(claim: Claim, number: int) -> dict[str, Any]:
    """How input ``number`` enters: by its hash, also as its name (RFC 6920)."""
    one = claim.inputs[number]
    name = base64.urlsafe_b64encode(bytes.fromhex(one.sha256)).decode().rstrip("=")
    return {
        "label": f"input-{number}",
        "title": _TITLES[one.kind],
        "description": f"SHA-256 {one.sha256}",
        "instance_id": f"ni:///sha-256;{name}",
        "relationship": "inputTo",
    }


def _redaction(address: str) -> dict[str, Any]:
    return {
        "action": "c2pa.redacted",
        "reason": "c2pa.PII.present",
        "parameters": {"redacted": address},
    }


def _soft_bindings(claim: Claim) -> list[dict[str, Any]]:
    if claim.id_text is None:
        return []
    block = {"scope": {}, "value": claim.id_text}
    return [
        {
            "label": SOFT_BINDING_LABEL,
            "created": True,
            "data": {"alg": algorithm, "blocks": [block]},
        }
        for layer, algorithm in MARK_ALGORITHMS.items()
        if layer in claim.marks
    ]


def _generation(claim: Claim) -> dict[str, Any]:
    """Provider, system, time and id together (California SB 942), and what went in."""
    said = {
        "provider": claim.provider,
        "system": GENERATOR,
        "version": claim.version,
        "time": claim.time,
        "id": claim.id_text,
        "marks": list(claim.marks),
        "model": claim.model,
        "weightsSha256": claim.weights_sha256,
        "inputs": [{"kind": one.kind, "sha256": one.sha256} for one in claim.inputs],
    }
    return {name: value for name, value in said.items() if value}


def _metadata(claim: Claim) -> dict[str, Any]:
    """The same in properties of IPTC Photo Metadata 2025.1, which other readers know."""
    return {
        "@context": {
            "dc": "http://purl.org/dc/elements/1.1/",
            "xmp": "http://ns.adobe.com/xap/1.0/",
            "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        },
        "dc:publisher": [claim.provider],
        **({"dc:identifier": claim.id_text} if claim.id_text else {}),
        "xmp:CreateDate": claim.time,
        "xmp:CreatorTool": f"{GENERATOR} {claim.version}",
        "Iptc4xmpExt:AISystemUsed": GENERATOR,
        "Iptc4xmpExt:AISystemVersionUsed": claim.version,
        "Iptc4xmpExt:DigitalSourceType": claim.source_type,
    }


def _checked_hash(text: str) -> None:
    if not _HASH.fullmatch(text):
        raise ValueError("a SHA-256 in 64 lower-case hexadecimal digits is expected")
