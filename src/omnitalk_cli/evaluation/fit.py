"""How exactly the codes describe a tracked face that the personal neutral was not taken from.

The neutral is estimated on one part of a clip, the codes are fitted on the other with that neutral,
and the distance of the re-projected landmarks from the tracked ones (in the picture, over the
distance of the outer eye corners) is averaged, both ways round. ``python -m
omnitalk_cli.evaluation.fit CLIP...`` prints the table.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.face.fit import Fit, FitOptions, fit_codes
from omnitalk_cli.face.regions import REGIONS
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.types import Float

COLUMNS = (*REGIONS, "all")
_BLOCK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class FitScore:
    """Error of one clip in percent of the eye distance, by region and over the 468 face points.

    ``halves``: first and second half of the clip take turns; ``blocks``: blocks of a second do;
    ``seen``: neutral and codes from the same frames.
    """

    name: str
    frames: int
    halves: dict[str, float]
    blocks: dict[str, float]
    seen: dict[str, float]

    def to_dict(self) -> dict[str, object]:
        """JSON-able form."""
        return {
            "name": self.name,
            "frames": self.frames,
            "halves": self.halves,
            "blocks": self.blocks,
            "seen": self.seen,
        }


def region_errors(landmarks: Float, fit: Fit, rig: FaceRig) -> dict[str, float]:
    """Mean distance of ``fit``'s landmarks from ``landmarks`` [N,478,3], in percent."""
    projected = rig.project(fit.codes, fit.neutral, fit.pose_frame)
    eye_distance = fit.pose_frame.scale * np.exp(fit.codes[:, 56])
    away = np.linalg.norm((projected - landmarks)[:, :, :2], axis=2) / eye_distance[:, None]
    errors = {name: float(100 * away[:, points].mean()) for name, points in REGIONS.items()}
    return errors | {"all": float(100 * away[:, :468].mean())}


def held_out(
    landmarks: Float, first: NDArray[np.bool_], rig: FaceRig, options: FitOptions | None = None
) -> dict[str, float]:
    """Errors when the frames ``first`` [N] and the others give each other the neutral."""
    totals = dict.fromkeys(COLUMNS, 0.0)
    for known in (first, ~first):
        source = fit_codes(landmarks[known], rig, options=options)
        target = landmarks[~known]
        fit = fit_codes(target, rig, neutral=source.neutral, options=options)
        for name, error in region_errors(target, fit, rig).items():
            totals[name] += error * len(target) / len(landmarks)
    return totals


def score_landmarks(
    name: str, landmarks: Float, fps: float, options: FitOptions | None = None
) -> FitScore:
    """The score of tracked ``landmarks`` [N,478,3], at least two seconds of them."""
    if len(landmarks) < 2 * fps:
        raise ValueError(f"{name}: {len(landmarks)} frames are too few to hold some out")
    rig = FaceRig.load()
    number = np.arange(len(landmarks))
    return FitScore(
        name=name,
        frames=len(landmarks),
        halves=held_out(landmarks, number < len(landmarks) / 2, rig, options),
        blocks=held_out(landmarks, (number // (_BLOCK_SECONDS * fps)) % 2 == 0, rig, options),
        seen=region_errors(landmarks, fit_codes(landmarks, rig, options=options), rig),
    )


def score_clip(path: Path) -> FitScore:
    """The score of a clip. Raises InputError when no face can be followed in it."""
    from omnitalk_cli.media.probe import probe
    from omnitalk_cli.pipeline.reference_pictures import follow

    pictures = follow(probe(path))
    return score_landmarks(path.stem, pictures.landmarks, float(pictures.fps))


def table(scores: list[FitScore]) -> list[str]:
    """The scores in lines, their mean at the end."""
    head = " ".join(f"{name:>6}" for name in COLUMNS)
    lines = [f"{'% of eye distance':24}  halves: {head}   blocks: {head}   seen: {'all':>6}"]
    for score in scores:
        lines.append(_line(score.name, score.halves, score.blocks, score.seen["all"]))
    halves = {name: float(np.mean([s.halves[name] for s in scores])) for name in COLUMNS}
    blocks = {name: float(np.mean([s.blocks[name] for s in scores])) for name in COLUMNS}
    lines.append(_line("mean", halves, blocks, float(np.mean([s.seen["all"] for s in scores]))))
    return lines


def _line(name: str, halves: dict[str, float], blocks: dict[str, float], seen: float) -> str:
    def row(values: dict[str, float]) -> str:
        return " ".join(f"{values[column]:6.2f}" for column in COLUMNS)

    return f"{name:24}          {row(halves)}           {row(blocks)}         {seen:6.2f}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(table([score_clip(Path(clip)) for clip in sys.argv[1:]])) + "\n")
