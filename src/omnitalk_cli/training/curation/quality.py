"""How good a clip's sound is: loudness, clipping, and DNSMOS P.835 where its model is installed."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from omnitalk_cli.errors import SetupError
from omnitalk_cli.types import Float

VERSION = 1
DNSMOS_RATE = 16_000
_VARIABLE = "OMNITALK_DNSMOS"
_PACKAGE, _FILE = "speechmos", "dnsmos_models/sig_bak_ovr.onnx"
_WINDOW = 9.01  # seconds that the network hears; shorter sound is repeated
# From the network's raw values to opinion scores (Microsoft's DNS challenge, dnsmos_local.py).
_CURVES = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}
_FULL_SCALE = 0.999


@dataclass(frozen=True, kw_only=True)
class SoundQuality:
    """``level`` RMS and ``peak`` in dB of full scale, ``clipped`` share of samples at full scale;
    DNSMOS P.835 ``ovrl``, ``sig``, ``bak`` (1…5), None where there is no model."""

    level: float
    peak: float
    clipped: float
    ovrl: float | None = None
    sig: float | None = None
    bak: float | None = None


def find_dnsmos() -> Path | None:
    """The network's ONNX file: $OMNITALK_DNSMOS, else that of the package speechmos, else None.

    Raises SetupError when the variable names no file.
    """
    named = os.environ.get(_VARIABLE)
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise SetupError(
                f"{_VARIABLE}: there is no file {named}; give DNSMOS' sig_bak_ovr.onnx"
            )
        return path
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / _FILE
        if path.is_file():
            return path
    return None


def dnsmos_or_error() -> Path:
    """As :func:`find_dnsmos`. Raises SetupError when there is none."""
    path = find_dnsmos()
    if path is None:
        raise SetupError(
            "no DNSMOS model; install it with pip install 'omnitalk-cli[data]' (package speechmos) "
            "or leave audio quality out with --audio-quality none"
        )
    return path


def sound_quality(audio: Float, model: Path | None) -> SoundQuality:
    """Quality of ``audio`` [S] (mono, 16 kHz, −1…1). Raises SetupError for a broken model."""
    power = float((audio.astype(np.float64) ** 2).mean()) if len(audio) else 0.0
    top = float(np.abs(audio).max()) if len(audio) else 0.0
    return SoundQuality(
        level=10 * float(np.log10(power + 1e-12)),
        peak=20 * float(np.log10(top + 1e-6)),
        clipped=float((np.abs(audio) >= _FULL_SCALE).mean()) if len(audio) else 0.0,
        **(dnsmos(audio, model) if model is not None and top > 0 else {}),
    )


def dnsmos(audio: Float, model: Path) -> dict[str, float]:
    """``sig``, ``bak`` and ``ovrl`` (1…5), the mean over windows of 9 s every second."""
    size = int(_WINDOW * DNSMOS_RATE)
    audio = np.clip(audio.astype(np.float32), -1.0, 1.0)
    while len(audio) < size:
        audio = np.concatenate([audio, audio])
    network = _session(model)
    hops = int(len(audio) // DNSMOS_RATE - _WINDOW) + 1
    raw = [
        network.run(None, {"input_1": audio[None, hop * DNSMOS_RATE :][:, :size]})[0][0]
        for hop in range(hops)
        if len(audio) - hop * DNSMOS_RATE >= size
    ]
    columns = dict(zip(("sig", "bak", "ovrl"), np.array(raw, np.float64).T, strict=True))
    return {name: float(np.polyval(_CURVES[name], columns[name]).mean()) for name in _CURVES}


@lru_cache(maxsize=1)
def _session(model: Path) -> Any:
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # workers share the cores
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(
            str(model), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors have no common base that it exports
        raise SetupError(f"{model}: DNSMOS cannot be loaded ({error})") from error
