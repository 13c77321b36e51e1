"""Style of a generated clip against its reference: distances of expression and of head motion.

``python -m omnitalk_cli.evaluation.anchors REF GENERATED [REF GENERATED ...] [--text T] [--json]``

Unlike ``evaluation.motion`` this looks at pictures, not at codes, so that clips of other systems
are measured on the same terms. Several pairs are compared with each other too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import OmnitalkError
from omnitalk_cli.evaluation.motion import frechet_distance
from omnitalk_cli.evaluation.speaker import SpeakerJudge, cosine
from omnitalk_cli.types import Float

EXPRESSION_NAMES = ("lip opening", "mouth width", "eye opening", "brow height", "gaze x", "gaze y")
# Sharpness depends on size: faces are compared at this distance of the outer eye corners.
EYE_PIXELS = 96.0
_LONGEST_SECONDS = 60.0
_EXPRESSION_GAIN = 10.0
_DEGREES = 10.0  # a unit of the rotation features

# Points of the face mesh. (upper, lower) lid, (outer, inner) eye corner, brow and iris of each eye.
_LIPS, _MOUTH_CORNERS, _EYE_CORNERS = (13, 14), (61, 291), (33, 263)
_EYES = ((159, 145, 33, 133, 105, 468), (386, 374, 263, 362, 334, 473))
_FOREHEAD, _CHIN, _NOSE_TIP = 10, 152, 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipFeatures:
    """What a clip looks and sounds like.

    ``expression`` [N,6] (``EXPRESSION_NAMES`` in eye distances or eye widths, times 10); ``pose``
    [N,5]: rotation about x, y, z in units of 10 degrees and place in eye distances, both less
    their medians; ``sharpness`` median variance of the Laplacian; ``voice`` [256] or None without
    a voice; ``audio`` [S] at 24 kHz or None.
    """

    name: str
    expression: Float
    pose: Float
    sharpness: float
    voice: Float | None
    audio: Float | None


def expression_features(landmarks: Float) -> Float:
    """Landmarks ``[N,478,3]`` (pixels, y down) to expression features ``[N,6]``."""
    points = np.asarray(landmarks, np.float64)[:, :, :2]
    unit = _gap(points, *_EYE_CORNERS)
    opening, brow = np.zeros(len(points)), np.zeros(len(points))
    gaze = np.zeros((len(points), 2))
    for upper, lower, outer, inner, over, iris in _EYES:
        middle = (points[:, outer] + points[:, inner]) / 2
        opening += _gap(points, upper, lower) / unit / 2
        brow += (middle[:, 1] - points[:, over, 1]) / unit / 2
        gaze += (points[:, iris] - middle) / _gap(points, outer, inner)[:, None] / 2
    columns = [
        _gap(points, *_LIPS) / unit, _gap(points, *_MOUTH_CORNERS) / unit, opening, brow, *gaze.T,
    ]  # fmt: skip
    return np.asarray(_EXPRESSION_GAIN * np.stack(columns, axis=1), np.float32)


def pose_features(landmarks: Float) -> Float:
    """Landmarks ``[N,478,3]`` to head pose ``[N,5]`` about the clip's own median.

    About the median, because where a head stands in the picture is the framing, not its motion.
    """
    points = np.asarray(landmarks, np.float64)
    across = points[:, _EYE_CORNERS[1]] - points[:, _EYE_CORNERS[0]]
    down = points[:, _CHIN] - points[:, _FOREHEAD]
    angles = np.degrees(
        [
            np.arctan2(down[:, 2], down[:, 1]),
            np.arctan2(across[:, 2], across[:, 0]),
            np.arctan2(across[:, 1], across[:, 0]),
        ]
    ).T
    unit = np.median(_gap(points[:, :, :2], *_EYE_CORNERS))
    pose = np.concatenate([angles / _DEGREES, points[:, _NOSE_TIP, :2] / unit], axis=1)
    return np.asarray(pose - np.median(pose, axis=0), np.float32)


def face_sharpness(picture: NDArray[np.uint8], landmarks: Float) -> float:
    """Variance of the Laplacian in the face's box of a grey ``picture`` [H,W], its landmarks
    [478,3], once the eyes are ``EYE_PIXELS`` apart. 0 where the box is outside of the picture."""
    corners = landmarks[list(_EYE_CORNERS), :2]
    scale = EYE_PIXELS / max(float(np.linalg.norm(corners[0] - corners[1])), 1e-6)
    low = np.maximum(landmarks[:, :2].min(axis=0), 0).astype(int)
    high = np.maximum(landmarks[:, :2].max(axis=0), 0).astype(int)
    face = picture[low[1] : high[1], low[0] : high[0]]
    if min(face.shape) < 4:
        return 0.0
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    sized = cv2.resize(face, None, fx=scale, fy=scale, interpolation=shrink)
    return float(cv2.Laplacian(sized, cv2.CV_64F).var())


def read_clip(path: Path, speaker: SpeakerJudge) -> ClipFeatures:
    """Follows the face through the first minute of a clip and listens to it.

    Raises InputError when no face can be followed.
    """
    from omnitalk_cli.media.decode import decode_audio
    from omnitalk_cli.media.probe import probe
    from omnitalk_cli.pipeline.reference_pictures import follow

    info = probe(path)
    pictures = follow(info, seconds=_LONGEST_SECONDS)
    sharpness = [
        face_sharpness(
            _grey(data), points
        )
        for data, points in zip(pictures.frames, pictures.landmarks, strict=True)
    ]  # fmt: skip
    audio = decode_audio(path, info=info) if info.has_audio else None
    voice = None
    if audio is not None:
        try:
            voice = speaker.embed(audio)
        except ValueError:
            pass  # silence, or music without a voice in it
    return ClipFeatures(
        name=path.stem,
        expression=expression_features(pictures.landmarks),
        pose=pose_features(pictures.landmarks),
        sharpness=float(np.median(sharpness)),
        voice=voice,
        audio=audio,
    )


def compare(reference: ClipFeatures, generated: ClipFeatures) -> dict[str, Any]:
    """E-dist, P-dist, speaker similarity (None without voices) and ratio of sharpness."""
    similarity = None
    if reference.voice is not None and generated.voice is not None:
        similarity = round(cosine(reference.voice, generated.voice), 4)
    return {
        "name": generated.name,
        "reference": reference.name,
        "frames": len(generated.pose),
        "expression_distance": round(
            frechet_distance(reference.expression, generated.expression), 4
        ),
        "pose_distance": round(frechet_distance(reference.pose, generated.pose), 4),
        "similarity": similarity,
        "sharpness": round(generated.sharpness / max(reference.sharpness, 1e-9), 4),
    }


def contrast(pairs: Sequence[tuple[ClipFeatures, ClipFeatures]]) -> dict[str, Any]:
    """Whether generated clips differ from each other as their references do.

    ``expression`` and ``pose`` are distances of every generated clip (row) from every reference
    (column); ``own_is_nearest`` how many rows are smallest on the diagonal. ``sense`` is, for every
    two pairs, the cosine between the difference of the references' mean features (their
    expression and the spread of their pose) and that of the generated: 1 is the same sense.
    """
    distances = {
        kind: [
            [
                round(frechet_distance(getattr(ref, kind), getattr(made, kind)), 4)
                for ref, _ in pairs
            ]
            for _, made in pairs
        ]
        for kind in ("expression", "pose")
    }
    styles = [
        [np.concatenate([clip.expression.mean(axis=0), clip.pose.std(axis=0)]) for clip in pair]
        for pair in pairs
    ]
    sense = {}
    for i, first in enumerate(pairs):
        for j in range(i + 1, len(pairs)):
            wanted, made = styles[i][0] - styles[j][0], styles[i][1] - styles[j][1]
            sense[f"{first[0].name} - {pairs[j][0].name}"] = round(cosine(wanted, made), 4)
    nearest = {
        kind: sum(int(np.argmin(row)) == i for i, row in enumerate(rows))
        for kind, rows in distances.items()
    }
    return {**distances, "own_is_nearest": nearest, "sense": sense}


def _grey(data: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return np.asarray(picture, np.uint8)


def _gap(points: NDArray[np.float64], first: int, second: int) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(points[:, first] - points[:, second], axis=-1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures pairs of clips; returns the exit code."""
    parser = argparse.ArgumentParser(description="Style distances of generated clips.")
    parser.add_argument("clips", nargs="+", type=Path, help="REF GENERATED [REF GENERATED ...]")
    parser.add_argument("--text", help="what the generated clips say, for their word error rate")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(arguments)
    if len(options.clips) % 2:
        parser.error("clips come in pairs: a reference and what was generated from it")
    try:
        speaker = SpeakerJudge()
        known: dict[Path, ClipFeatures] = {}
        for path in options.clips:
            if path not in known:
                known[path] = read_clip(path, speaker)
        found = [known[path] for path in options.clips]
        pairs = list(zip(found[::2], found[1::2], strict=True))
        rows = [compare(*pair) for pair in pairs]
        if options.text:
            _add_word_errors(rows, pairs, options.text)
    except OmnitalkError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    result: dict[str, Any] = {"clips": rows}
    if len(pairs) > 1:
        result["contrast"] = contrast(pairs)
    sys.stdout.write((json.dumps(result) if options.json else table(result)) + "\n")
    return 0


def _add_word_errors(
    rows: list[dict[str, Any]], pairs: Sequence[tuple[ClipFeatures, ClipFeatures]], text: str
) -> None:
    from omnitalk_cli.evaluation.recogniser import Recogniser, spelled, word_errors

    recogniser = Recogniser()
    for row, (_, made) in zip(rows, pairs, strict=True):
        heard = recogniser.transcribe(made.audio) if made.audio is not None else ""
        errors = word_errors(heard, spelled(text))
        row["word_error_rate"] = round(errors.edits / errors.words, 4)
        row["heard"] = heard


def table(result: dict[str, Any]) -> str:
    """The result as lines of text."""
    lines = [f"{'clip':28} {'WER':>6} {'sim':>6} {'E-dist':>7} {'P-dist':>7} {'sharp':>6}"]
    for row in result["clips"]:
        cells = [row.get("word_error_rate"), row["similarity"], row["expression_distance"],
                 row["pose_distance"], row["sharpness"]]  # fmt: skip
        shown = ["-" if cell is None else f"{cell:.3f}" for cell in cells]
        lines.append(
            f"{row['name'][:28]:28} {shown[0]:>6} {shown[1]:>6} {shown[2]:>7} {shown[3]:>7} "
            f"{shown[4]:>6}"
        )
    if "contrast" in result:
        lines += [f"{name}: {value}" for name, value in result["contrast"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
