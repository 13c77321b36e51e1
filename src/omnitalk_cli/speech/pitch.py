"""Pitch in the mel domain: read it from a mel, take harmonics out of it, and put them back.

A small model draws the envelope of speech well and its harmonics badly: it cannot know where they
will be, and draws their mean. What is missing is one number per frame. ``PitchModel`` predicts
that number from the envelope, in the manner of a reference voice, and ``restore_harmonics`` writes
it into the mel, where any vocoder finds it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn

from omnitalk_cli.errors import SetupError
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.types import HOP, MEL_BINS, SAMPLE_RATE, Float
from omnitalk_cli.weights.store import embedded_folders

LOWEST, HIGHEST = 55.0, 500.0  # Hz
CEPSTRA = 16  # the finest of them, 13 bins long, is wider than the harmonics of most voices
_STATES = 128  # pitches of the table, 30 cents apart
_WIDTHS = 16  # pitches that the smoothing is worked out for
_FLOOR = 0.03  # noise between the harmonics, relative to them: about -30 dB
_HEARD = 0.45  # correlation with a harmonic series from which a frame is voiced
_COMB_BINS = 56  # harmonics are resolved up to about 2.7 kHz
_MIDDLE_BIN = 12  # 300 Hz: a bass or a hum has hardly anything above, a voice has
_SUPPORTED = 0.35  # correlation above that bin from which a pitch is that of a voice
_TWO_SOURCES = 8 / 12  # octaves between the medians from which two sources are heard
_WIDEST = 2.2  # how far a melody may leave the median, in spreads of the voice
_WEIGHTS = "pitch.safetensors"


@dataclass(frozen=True, kw_only=True)
class VoiceStatistics:
    """A voice's pitch: median in Hz, spread in semitones (standard deviation), voiced share."""

    median_hz: float
    spread_semitones: float
    voiced_share: float


def pitch_grid() -> NDArray[np.float64]:
    """The pitches [128] in Hz that tables and paths are made for, evenly spaced in octaves."""
    return np.geomspace(LOWEST, HIGHEST, _STATES)


def harmonic_ripple(hertz: Float) -> Float:
    """How the log-mel of a flat harmonic series at ``hertz`` [...] differs from its smooth
    envelope, [...,100]. Nothing where the mel does not resolve the harmonics."""
    place = np.log(np.clip(hertz, LOWEST, HIGHEST) / LOWEST) / np.log(HIGHEST / LOWEST)
    place = place * (_STATES - 1)
    low = np.minimum(place.astype(np.int64), _STATES - 2)
    share = (place - low)[..., None]
    table = _ripples()
    return np.asarray(table[low] * (1 - share) + table[low + 1] * share, dtype=np.float32)


def smooth_envelope(mel: Float, hertz: Float | float) -> Float:
    """Log-mel [T,100] without the harmonics of a voice at ``hertz`` (one, or [T])."""
    place = np.log(np.clip(hertz, LOWEST, HIGHEST) / LOWEST) / np.log(HIGHEST / LOWEST)
    which = np.broadcast_to(np.rint(place * (_WIDTHS - 1)).astype(np.int64), len(mel))
    smooth = np.empty_like(mel, dtype=np.float32)
    for index in np.unique(which):
        smooth[which == index] = mel[which == index] @ _smoothers()[index].T
    return smooth


def restore_harmonics(mel: Float, hertz: Float, voicing: Float, depth: Float) -> Float:
    """Log-mel [T,100] with harmonics at ``hertz`` [T] where ``voicing`` [T] (0…1) is high.

    ``depth`` [100] is how deep the harmonics of real speech are in each bin, relative to those of
    a steady source. The smooth envelope stays, and so do unvoiced frames.
    """
    voiced = np.asarray(voicing, np.float32)[:, None]
    full = smooth_envelope(mel, hertz) + depth * harmonic_ripple(hertz)
    return np.asarray(mel + voiced * (full - mel), dtype=np.float32)


def pitch_of_voice(mel: Float) -> tuple[Float, Float]:
    """Pitch [T] in Hz and its salience [T] (correlation, about 0…1) of a log-mel [T,100].

    Each frame is compared with the harmonic series of every pitch; the best path through these is
    found by dynamic programming, so that a pitch is given for unvoiced frames too.
    """
    scores = _comb_scores(mel)
    grid = pitch_grid()
    steps = np.abs(np.arange(_STATES)[:, None] - np.arange(_STATES))
    move = np.minimum(0.03 * np.maximum(steps - 1, 0), 0.5).astype(np.float32)
    total = scores[0]
    back = np.zeros(scores.shape, dtype=np.int64)
    rows = np.arange(_STATES)
    for t in range(1, len(scores)):
        through = total - move
        back[t] = through.argmax(axis=1)
        total = through[rows, back[t]] + scores[t]
    states = np.zeros(len(scores), dtype=np.int64)
    states[-1] = total.argmax()
    for t in range(len(scores) - 1, 0, -1):
        states[t - 1] = back[t, states[t]]
    inner, frames = states.clip(1, _STATES - 2), np.arange(len(scores))
    left, top, right = (scores[frames, inner + k] for k in (-1, 0, 1))
    bend = left - 2 * top + right
    shift = np.where(bend < -1e-6, 0.5 * (left - right) / np.minimum(bend, -1e-6), 0.0)
    hertz = grid[inner] * (grid[1] / grid[0]) ** shift.clip(-1, 1)
    return hertz.astype(np.float32), scores[frames, states].astype(np.float32)


def voice_statistics(mel: Float) -> VoiceStatistics | None:
    """The pitch of the voice in a log-mel [T,100]; None when hardly any is heard in it.

    Rumble in the pauses and a bass under the voice are left out.
    """
    if len(mel) < 3:
        return None
    hertz, salience = pitch_of_voice(mel)
    voiced = (salience > _HEARD) & _foreground(mel)
    if voiced.sum() < 20:
        return None
    octaves = np.log2(hertz)
    supported = voiced & (_middle_support(mel, hertz) > _SUPPORTED)
    others = voiced & ~supported
    # A deep voice lacks support, too: a bass is what lies far below the greater part of a voice.
    if supported.sum() > others.sum() > 0 and (
        np.median(octaves[supported]) - np.median(octaves[others]) > _TWO_SOURCES
    ):
        voiced = supported
    octaves = octaves[voiced]
    median = float(np.median(octaves))
    # The middle 80 % tells the spread: octave slips would dominate a standard deviation.
    low, high = np.percentile(octaves, [10, 90])
    return VoiceStatistics(
        median_hz=float(2**median),
        spread_semitones=float(np.clip(12 * (high - low) / 2.563, 0.8, 6.0)),
        voiced_share=float(voiced.mean()),
    )


@dataclass(frozen=True, kw_only=True)
class PitchConfig:
    """``width`` channels; one residual block per dilation, each of ``kernel`` taps."""

    width: int = 64
    kernel: int = 5
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 1)

    def __post_init__(self) -> None:
        if self.width < 1 or self.kernel % 2 == 0 or not self.dilations or min(self.dilations) < 1:
            raise ValueError(f"positive sizes and an odd kernel are needed: {self}")

    @property
    def context(self) -> int:
        """Frames on either side that a frame depends on."""
        return (self.kernel // 2) * (sum(self.dilations) + 1)


class PitchModel(nn.Module):
    """Voicing and melody of a voice from the course of its envelope: dilated convolutions.

    ``depth`` [100] comes with it, for :func:`restore_harmonics`.
    """

    depth: Tensor

    def __init__(self, config: PitchConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PitchConfig()
        self.register_buffer("depth", torch.ones(MEL_BINS))
        pad = config.kernel // 2
        self.enter = nn.Conv1d(CEPSTRA + 2, config.width, config.kernel, padding=pad)
        self.spread = nn.ModuleList(
            nn.Conv1d(config.width, config.width, config.kernel, padding=pad * d, dilation=d)
            for d in config.dilations
        )
        self.mix = nn.ModuleList(nn.Conv1d(config.width, config.width, 1) for _ in config.dilations)
        self.leave = nn.Conv1d(config.width, 2, 1)

    def forward(self, cepstra: Tensor, voice: Tensor) -> Tensor:
        """``cepstra`` [B,T,16] and :func:`voice_features` [B,2] to [B,T,2].

        Out come the logit of voicing and the pitch as distance from the voice's median, in units
        of its spread.
        """
        known = voice[:, None].expand(-1, cepstra.shape[1], -1)
        state = self.enter(torch.cat([cepstra, known], dim=2).transpose(1, 2))
        for spread, mix in zip(self.spread, self.mix, strict=True):
            state = state + mix(nn.functional.gelu(spread(nn.functional.gelu(state))))
        out: Tensor = self.leave(nn.functional.gelu(state)).transpose(1, 2)
        return out

    @torch.inference_mode()
    def predict(self, mel: Float, voice: VoiceStatistics) -> tuple[Float, Float]:
        """Pitch [T] in Hz and voicing [T] (0…1) for a log-mel [T,100] said in that voice."""
        smooth = torch.from_numpy(envelope_features(mel, voice.median_hz))
        out = self(smooth[None], torch.from_numpy(voice_features(voice))[None])[0].numpy()
        voicing = 1.0 / (1.0 + np.exp(-out[:, 0].astype(np.float64)))
        melody = _lively(out[:, 1].astype(np.float64), voicing)
        hertz = voice.median_hz * 2 ** (melody * voice.spread_semitones / 12)
        return np.clip(hertz, LOWEST, HIGHEST).astype(np.float32), voicing.astype(np.float32)

    def save(self, path: Path, metadata: dict[str, str] | None = None) -> None:
        """Writes the weights as float16 with the config in the metadata."""
        tensors = {name: value.detach().half().numpy() for name, value in self.state_dict().items()}
        header = {"config": json.dumps(asdict(self.config)), **(metadata or {})}
        save_file(tensors, path, metadata=header)

    @classmethod
    def load(cls, path: Path) -> PitchModel:
        """From a safetensors file. Raises SetupError when it is no pitch model."""
        try:
            with safe_open(path, framework="pt") as file:
                fields = json.loads(file.metadata()["config"])
                fields["dilations"] = tuple(fields["dilations"])
                model = cls(PitchConfig(**fields))
                model.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})
        except Exception as error:
            raise SetupError(f"{path} holds no pitch model ({error})") from error
        return model.eval()


@lru_cache(maxsize=1)
def pitch_model() -> PitchModel:
    """The embedded pitch model. Raises SetupError when it is not there."""
    for folder in embedded_folders():
        if (folder / _WEIGHTS).is_file():
            return PitchModel.load(folder / _WEIGHTS)
    raise SetupError(
        f"the pitch weights ({_WEIGHTS}) are not installed; install the omnitalk-cli wheel again, "
        "which carries them, or run from a complete checkout"
    )


def revoice(mel: Float, reference_mel: Float, model: PitchModel) -> Float:
    """Log-mel [T,100] with the harmonics of a melody in the manner of ``reference_mel`` [R,100].

    Returned as it is when no voice is heard in the reference.
    """
    voice = voice_statistics(reference_mel)
    if voice is None or not len(mel):
        return mel
    hertz, voicing = model.predict(mel, voice)
    return restore_harmonics(mel, hertz, voicing, model.depth.numpy())


def envelope_features(mel: Float, median_hz: float) -> Float:
    """What the model sees of a log-mel [T,100]: cepstra [T,16] of its envelope, the mean of the
    loud frames taken off."""
    smooth = smooth_envelope(mel, median_hz)
    level = np.log(np.exp(smooth.astype(np.float64)).sum(axis=1))
    mean = smooth[level > np.quantile(level, 0.95) - 2.5].mean(axis=0)
    return np.asarray((smooth - mean) @ _cosines().T, dtype=np.float32)


def voice_features(voice: VoiceStatistics) -> Float:
    """Median (octaves from 150 Hz) and spread (in 3 semitones, from 1) as the model takes them."""
    return np.array(
        [np.log2(voice.median_hz / 150.0), voice.spread_semitones / 3.0 - 1.0], np.float32
    )


def _lively(melody: NDArray[np.float64], voicing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Regression draws the mean melody, which is flat: widened here to the spread of the voice,
    as far as it stays plausible, and put on its median."""
    voiced = voicing > 0.5
    if voiced.sum() < 30:
        return melody.clip(-_WIDEST, _WIDEST)
    middle = float(np.median(melody[voiced]))
    factor = float(np.clip(0.85 / (melody[voiced].std() + 1e-3), 1.0, 1.8))
    return np.asarray(((melody - middle) * factor).clip(-_WIDEST, _WIDEST), dtype=np.float64)


def _foreground(mel: Float) -> NDArray[np.bool_]:
    """Frames [T] of a log-mel [T,100] that stand out from its pauses and are no more than 30 dB
    below its loudest. Wind and fans have low tones, too, that would pass for a deep voice."""
    level = np.log(np.exp(mel.astype(np.float64)).sum(axis=1))
    quiet, loud = np.quantile(level, [0.1, 0.95])
    # Where nothing is quiet, only what is 9 dB below the loudest could be a pause.
    above_pauses = min(quiet + 0.4 * (loud - quiet), loud - 1.0)
    return np.asarray(level > max(above_pauses, loud - 3.5), dtype=np.bool_)


def _middle_support(mel: Float, hertz: Float) -> NDArray[np.float64]:
    """Correlation [T] of every frame with the harmonic series at ``hertz`` [T], above 300 Hz."""
    place = np.log(hertz / LOWEST) / np.log(HIGHEST / LOWEST) * (_STATES - 1)
    series = _templates()[np.rint(place).astype(np.int64).clip(0, _STATES - 1), _MIDDLE_BIN:]
    ripple = _low_ripple(mel)[:, _MIDDLE_BIN:]
    size = np.linalg.norm(series, axis=1) * np.linalg.norm(ripple, axis=1)
    return np.asarray((series * ripple).sum(axis=1) / (size + 1e-6), dtype=np.float64)


def _low_ripple(mel: Float) -> Float:
    """The low bins [T,56] of a log-mel [T,100] without their envelope."""
    return np.asarray(mel[:, :_COMB_BINS] - mel @ _smoothers()[-5][:_COMB_BINS].T, np.float32)


def _comb_scores(mel: Float) -> Float:
    """Correlation [T,128] of every frame with the harmonic series of every pitch."""
    smooth = _low_ripple(mel)
    size = np.linalg.norm(smooth, axis=1, keepdims=True)
    return np.asarray((smooth / (size + 1.0)) @ _templates().T, dtype=np.float32)


@lru_cache(maxsize=1)
def _templates() -> Float:
    """Unit vectors [128,56]: the low bins of every harmonic series, its envelope taken off."""
    series = _series()
    shape = series[:, :_COMB_BINS] - series @ _smoothers()[-5][:_COMB_BINS].T
    return np.asarray(shape / np.linalg.norm(shape, axis=1, keepdims=True), dtype=np.float32)


@lru_cache(maxsize=1)
def _series() -> Float:
    """Mean log-mel [128,100] of a flat harmonic series at every pitch, with a little noise."""
    grid = pitch_grid()[:, None]
    angle = np.pi * np.modf(np.arange(40 * HOP) * grid / SAMPLE_RATE)[0]  # half the phase
    count = np.floor(0.5 * SAMPLE_RATE / grid)
    # The sum of the cosines of all harmonics in closed form (Dirichlet's kernel).
    sine = np.sin(angle)
    near = np.abs(sine) < 1e-6
    pulses = np.where(near, count, np.sin((2 * count + 1) * angle) / (2 * np.where(near, 1, sine)))
    pulses = np.where(near, pulses, pulses - 0.5)
    pulses = pulses / np.sqrt(np.square(pulses).mean(axis=1, keepdims=True))
    noise = np.random.default_rng(0).standard_normal(pulses.shape) * _FLOOR
    mel = log_mel(torch.from_numpy((pulses + noise).astype(np.float32)))
    return np.asarray(mel[:, 4:-4].mean(dim=1).numpy(), dtype=np.float32)


@lru_cache(maxsize=1)
def _ripples() -> Float:
    grid, series = pitch_grid(), _series()
    return series - smooth_envelope(series, grid.astype(np.float32))


@lru_cache(maxsize=1)
def _smoothers() -> Float:
    """Matrices [16,100,100] that average over the distance of two harmonics, mirrored at the ends.

    Gaussians of 0.42 times that distance leave 3 % of the ripple.
    """
    top = np.log1p(SAMPLE_RATE / 2 / 700)
    centres = 700 * np.expm1(np.arange(1, MEL_BINS + 1) / (MEL_BINS + 1) * top)
    spacing = (700 + centres) * top / (MEL_BINS + 1)  # Hz per bin
    bins = np.arange(MEL_BINS)
    found = []
    for hertz in np.geomspace(LOWEST, HIGHEST, _WIDTHS):
        width = np.maximum(0.42 * hertz / spacing, 0.5)[:, None]
        kernel = sum(
            np.exp(-0.5 * ((place - bins[:, None]) / width) ** 2)
            for place in (bins, -1 - bins, 2 * MEL_BINS - 1 - bins)
        )
        found.append(kernel / kernel.sum(axis=1, keepdims=True))
    return np.asarray(found, dtype=np.float32)


@lru_cache(maxsize=1)
def _cosines() -> Float:
    """Cosine series [16,100], scaled so that cepstra are about as large as each other."""
    order, bins = np.arange(CEPSTRA)[:, None], np.arange(MEL_BINS)
    rows = np.cos(np.pi * order * (bins + 0.5) / MEL_BINS) / MEL_BINS
    return np.asarray(rows * (1.0 + order) ** 0.7, dtype=np.float32)
