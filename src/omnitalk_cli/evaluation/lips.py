"""Lips against lips: do generated codes open the mouth when the tracked face does, and how late?

``python -m omnitalk_cli.evaluation.lips PERFORMANCE FEATURES`` compares files of one clip.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import OmnitalkError
from omnitalk_cli.evaluation.motion import lip_opening, pearson
from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.pipeline.performance_store import load_performance
from omnitalk_cli.pipeline.reference_store import load_reference
from omnitalk_cli.types import MEL_RATE, Float

Series = NDArray[np.float64]

LARGEST_OFFSET_MS = 200
_STEP_MS = 10
_JAW = CODE_INDEX["jawOpen"]


@dataclass(frozen=True, kw_only=True)
class LipAgreement:
    """Pearson correlations −1…1 of generated and tracked mouths of the same speech.

    ``jaw`` and ``opening`` as they stand; ``offset_ms`` is the shift at which the opening agrees
    best (positive: the generated mouth is late), ``best_opening`` and ``best_jaw`` the correlations
    there. ``seconds`` are compared.
    """

    seconds: float
    jaw: float
    opening: float
    offset_ms: int
    best_jaw: float
    best_opening: float

    def to_dict(self) -> dict[str, float]:
        """JSON-able form."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def lip_agreement(
    generated: Float, tracked: Float, *, generated_rate: float, tracked_rate: float
) -> LipAgreement:
    """Compares codes ``[T,61]`` and ``[N,61]`` at their frame rates, both from the same moment on.

    Shifts within ±200 ms in steps of 10 ms. Raises ValueError when they share less than a second.
    """
    seconds = min(len(generated) / generated_rate, len(tracked) / tracked_rate)
    if seconds < 1.0:
        raise ValueError(f"{seconds:.2f} s are too short to compare lips")
    grid = np.arange(0.0, seconds, _STEP_MS / 1000)
    jaws, openings = [], []
    for codes, rate in ((generated, generated_rate), (tracked, tracked_rate)):
        # A frame stands for its beginning, as everywhere in the pipeline (`resample_codes`).
        times = np.arange(len(codes)) / rate
        jaws.append(np.interp(grid, times, codes[:, _JAW]))
        openings.append(np.interp(grid, times, lip_opening(codes)))
    steps = LARGEST_OFFSET_MS // _STEP_MS
    scores = {shift: _shifted(openings, shift) for shift in range(-steps, steps + 1)}
    # Of equals the smallest shift: a still mouth is not late.
    best = max(scores, key=lambda shift: (round(scores[shift], 9), -abs(shift)))
    return LipAgreement(
        seconds=float(seconds),
        jaw=_shifted(jaws, 0),
        opening=scores[0],
        offset_ms=best * _STEP_MS,
        best_jaw=_shifted(jaws, best),
        best_opening=scores[best],
    )


def _shifted(pair: Sequence[Series], shift: int) -> float:
    """Correlation of the first series, taken ``shift`` steps later, with the second."""
    first, second = pair
    return pearson(first[max(shift, 0) : len(first) + min(shift, 0)],
                   second[max(-shift, 0) : len(second) + min(-shift, 0)])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares a performance file with a features file of the same clip; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("performance", type=Path, help="made by synth --audio with the clip")
    parser.add_argument("reference", type=Path, help="made by extract from the same clip")
    options = parser.parse_args(arguments)
    try:
        performance = load_performance(options.performance)
        reference = load_reference(options.reference)
        # The features may begin later in the clip than its sound does.
        first = round(reference.start_seconds * MEL_RATE)
        found = lip_agreement(
            performance.codes[first:],
            reference.codes,
            generated_rate=MEL_RATE,
            tracked_rate=reference.fps,
        )
    except OmnitalkError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(found.to_dict()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
