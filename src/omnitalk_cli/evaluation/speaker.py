"""Likeness of two voices: cosine of their Resemblyzer embeddings (Wan et al. 2018, GE2E).

Resemblyzer is a judge from outside and no part of the product: ``pip install omnitalk-cli[eval]``.
"""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from omnitalk_cli.errors import SetupError
from omnitalk_cli.types import SAMPLE_RATE, Float

_RATE = 16_000
_SHORTEST = 1600  # samples at 16 kHz: what is left of silence has no voice


class SpeakerJudge:
    """Loads Resemblyzer's encoder once. Raises SetupError when it is not installed."""

    def __init__(self) -> None:
        self._package = _resemblyzer()
        self._encoder = self._package.VoiceEncoder("cpu", verbose=False)

    def embed(
        self, audio: Float, *, sample_rate: int = SAMPLE_RATE, prepared: bool = False
    ) -> Float:
        """Unit vector [256] of mono ``audio`` [S].

        The sound goes in as it is, which is how the published anchors were measured; loudness and
        pauses then count a little. ``prepared`` first lifts quiet sound and cuts long silences as
        Resemblyzer recommends: stricter. Raises ValueError when nothing is heard.
        """
        sound = np.asarray(audio, np.float64)
        if not len(sound) or float(np.abs(sound).max()) < 1e-4:
            raise ValueError("there is no voice in silence")
        common = int(np.gcd(sample_rate, _RATE))
        heard = resample_poly(sound, _RATE // common, sample_rate // common).astype(np.float32)
        if prepared:
            heard = self._package.preprocess_wav(heard)
        if len(heard) < _SHORTEST:
            raise ValueError("there is no voice in this sound")
        return np.asarray(self._encoder.embed_utterance(heard), np.float32)

    def similarity(self, first: Float, second: Float) -> float:
        """Cosine of the voices of two sounds [S] at 24 kHz, −1…1."""
        return cosine(self.embed(first), self.embed(second))


def cosine(first: Float, second: Float) -> float:
    """Cosine of the angle between two vectors [D]; 0 when one of them is zero."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 1e-12 else 0.0


def _resemblyzer() -> Any:
    """The package, also beside a setuptools that no longer brings ``pkg_resources``.

    Its voice detector asks that module for its own version number and for nothing else.
    """
    missing = importlib.util.find_spec("pkg_resources") is None
    if missing:
        stand_in = types.ModuleType("pkg_resources")
        stand_in.get_distribution = (  # type: ignore[attr-defined]
            lambda name: types.SimpleNamespace(version="unknown")
        )
        sys.modules["pkg_resources"] = stand_in
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("resemblyzer")
    except ImportError as error:
        raise SetupError(
            f"measuring voices needs resemblyzer ({error}); pip install omnitalk-cli[eval]"
        ) from error
    finally:
        if missing:
            del sys.modules["pkg_resources"]
