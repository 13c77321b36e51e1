"""SIM: cosine of the speaker embeddings of generated and reference sound."""

from __future__ import annotations

import numpy as np
from scipy.signal import resample_poly

from omnitalk_cli.errors import SetupError
from omnitalk_cli.evaluation.scores.models import SPEAKER, run_file
from omnitalk_cli.evaluation.scores.result import Score
from omnitalk_cli.evaluation.speaker import SpeakerJudge, cosine
from omnitalk_cli.types import SAMPLE_RATE, Float

_RATE = 16_000
_SHORTEST = 0.4  # seconds: below, nothing can be said about a voice


class VoiceJudge:
    """The user's speaker verification model, else Resemblyzer; ``why`` says when there is none.

    Raises SetupError when the user's model cannot be loaded.
    """

    def __init__(self) -> None:
        path = SPEAKER.find()
        self._network = run_file(path) if path is not None else None
        self._fallback: SpeakerJudge | None = None
        self.why = ""
        self.model, self.substitute, self.note = SPEAKER.model, False, ""
        if self._network is None:
            self.model, self.substitute = "Resemblyzer (GE2E)", True
            self.note = f"papers use WavLM-large: {SPEAKER.how()}"
            try:
                self._fallback = SpeakerJudge()
            except SetupError as error:
                self.why = f"{error}; or {SPEAKER.how()}"

    def embed(self, audio: Float) -> Float | None:
        """Embedding ``[D]`` of ``audio`` ``[S]`` at 24 kHz; None where there is no voice or no
        model."""
        if self.why or len(audio) < _SHORTEST * SAMPLE_RATE or float(np.abs(audio).max()) < 1e-4:
            return None
        if self._network is not None:
            sound = resample_poly(audio.astype(np.float64), 2, 3).astype(np.float32)
            assert SAMPLE_RATE * 2 == _RATE * 3
            return np.asarray(self._network(sound[None]).reshape(-1), np.float32)
        assert self._fallback is not None
        try:
            return self._fallback.embed(audio)
        except ValueError:
            return None


def voice_score(judge: VoiceJudge, generated: Float | None, reference: Float | None) -> Score:
    """``sim`` of two embeddings ``[D]``; None where a clip has no voice."""
    if judge.why:
        return Score.missing(judge.why)
    if generated is None or reference is None:
        which = "generated" if generated is None else "reference"
        return Score.missing(f"no voice is heard in the {which} clip")
    return Score(
        value=cosine(generated, reference), model=judge.model, substitute=judge.substitute,
        note=judge.note,
    )  # fmt: skip
