"""How loud speech is, and bringing it to a usual level."""

from __future__ import annotations

import numpy as np

from omnitalk_cli.types import Float

_SPEECH_RMS = 0.1  # −20 dB below full scale, a usual level for speech
_PEAK = 0.89
_BLOCK = 480  # 20 ms


def usual_loudness(audio: Float) -> Float:
    """``audio`` ``[S]`` (24 kHz) with its speech at a fixed loudness; peaks are bent, not cut."""
    blocks = audio[: len(audio) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    power = np.sqrt((blocks.astype(np.float64) ** 2).mean(1)) if len(blocks) else np.zeros(1)
    spoken = power[power > 0.1 * max(float(power.max(initial=0.0)), 1e-6)]
    level = float(np.sqrt((spoken**2).mean())) if len(spoken) else 0.0
    if level < 1e-5:
        return audio
    scaled = audio * (_SPEECH_RMS / level)
    knee = 0.6 * _PEAK
    over = np.abs(scaled) > knee
    room = _PEAK - knee
    bent = np.sign(scaled) * (knee + room * np.tanh((np.abs(scaled) - knee) / room))
    return np.where(over, bent, scaled).astype(np.float32)
