"""One score: its value, the model that measured it, and whether that is the papers' model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Score:
    """``value`` None: not measured, and ``note`` says why or how to get it.

    ``model`` is what measured it. ``substitute`` is True where that is another model than the
    papers use, so that the figure compares systems here but not with published ones. ``counts``
    (errors, out of) belong to a rate; several items are then pooled instead of averaged.
    """

    value: float | None
    model: str = ""
    substitute: bool = False
    note: str = ""
    counts: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == bool(self.model):
            raise ValueError("a score has a value and the model that measured it, or neither")

    @classmethod
    def missing(cls, why: str) -> Score:
        """Not measured, because of ``why``."""
        return cls(value=None, note=why)

    @classmethod
    def rate(cls, errors: float, total: float, *, model: str, substitute: bool, note: str) -> Score:
        """``errors`` per ``total``, which must be positive."""
        return cls(
            value=errors / total, model=model, substitute=substitute, note=note,
            counts=(errors, total),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        value = None if self.value is None else round(self.value, 5)
        return {
            "value": value, "model": self.model, "substitute": self.substitute, "note": self.note,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a score is: its heading in tables, digits after the point, and which way is better."""

    name: str
    heading: str
    digits: int
    better: str
    about: str


KINDS: tuple[Kind, ...] = (
    Kind(name="wer", heading="WER", digits=3, better="less", about="word error rate"),
    Kind(name="cer", heading="CER", digits=3, better="less", about="character error rate"),
    Kind(name="sim", heading="SIM", digits=3, better="more", about="likeness of the voice, cosine"),
    Kind(name="e_fid", heading="E-FID", digits=3, better="less",
         about="Fréchet distance of expression and gaze codes"),
    Kind(name="p_fid", heading="P-FID", digits=4, better="less",
         about="Fréchet distance of head pose codes"),
    Kind(name="sync_offset", heading="offset", digits=1, better="zero",
         about="frames of 25 per second by which the lips are late"),
    Kind(name="sync_confidence", heading="sync", digits=2, better="more",
         about="how clear that offset is"),
    Kind(name="csim", heading="CSIM", digits=3, better="more",
         about="likeness of the face, cosine"),
    Kind(name="fvd", heading="FVD", digits=1, better="less",
         about="Fréchet distance of video features"),
    Kind(name="e_dist", heading="E-dist", digits=3, better="less",
         about="Fréchet distance of lips, lids, brows and gaze in the picture"),
    Kind(name="p_dist", heading="P-dist", digits=3, better="less",
         about="Fréchet distance of head rotation and place in the picture"),
    Kind(name="sharpness", heading="sharp", digits=2, better="more",
         about="sharpness of the face, generated over reference"),
)  # fmt: skip

KIND = {kind.name: kind for kind in KINDS}
