"""FVD (Unterthiner et al. 2018): Fréchet distance between features of many short films."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from omnitalk_cli.evaluation.motion import frechet_distance
from omnitalk_cli.evaluation.scores.footage import Footage
from omnitalk_cli.evaluation.scores.models import VIDEO, Network
from omnitalk_cli.evaluation.scores.result import Score
from omnitalk_cli.types import Float

FRAMES, SIDE = 16, 224
# Papers compare 2048 windows; the estimate is far too high with few.
ENOUGH = 256


def window_features(footage: Footage, network: Network) -> Float | None:
    """I3D of successive windows of 16 square pictures, ``[n,D]``; None where there are too few."""
    count = len(footage.frames) // FRAMES
    if not count:
        return None
    rows = []
    for first in range(0, count * FRAMES, FRAMES):
        pictures = []
        for data in footage.frames[first : first + FRAMES]:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            pictures.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        film = np.stack(pictures).astype(np.float32) / 127.5 - 1.0
        rows.append(network(film.transpose(3, 0, 1, 2)[None]).reshape(-1))
    return np.stack(rows)


def video_score(
    generated: Sequence[Float | None], reference: Sequence[Float | None], *, present: bool
) -> Score:
    """``fvd`` over the windows of all clips together."""
    if not present:
        return Score.missing(VIDEO.how())
    made = [one for one in generated if one is not None]
    real = [one for one in reference if one is not None]
    counts = [sum(map(len, sets)) for sets in (made, real)]
    if min(counts) < 2:
        return Score.missing("needs at least 32 frames of generated and of reference clips")
    note = f"{counts[0]} and {counts[1]} windows"
    if min(counts) < ENOUGH:
        note += f"; too few for a steady figure, which takes {ENOUGH} and more"
    value = frechet_distance(np.concatenate(made), np.concatenate(real))
    return Score(value=value, model=VIDEO.model, note=note)
