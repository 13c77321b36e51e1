"""A vocoder without weights: the pitch is read from the mel, a source is shaped until it fits.

Source and filter as in classical synthesis (pulses at the pitch, noise elsewhere, minimum-phase
envelope), then ``vocoder.refine``, which makes the result agree with the mel. It knows no
language and no speaker, so that no voice is foreign to it; deterministic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from omnitalk_cli.speech.mel import LOG_FLOOR, N_FFT, MelKind, mel_filterbank
from omnitalk_cli.speech.streaming import Streaming
from omnitalk_cli.speech.vocoder import frames_of, overlapped, refine
from omnitalk_cli.types import HOP, MEL_BINS, SAMPLE_RATE

_SMOOTH = 2  # frames on either side that the medians of the pitch track look at


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """``rounds`` of refinement and their ``exponent``; pitch range in Hz; noise in voiced speech.

    Above ``noise_above`` Hz voiced speech is noise, too.
    ``voicing`` are the periodicities (0…1) of a frame that is just not and one that is fully
    voiced. ``seed`` is that of the noise.
    """

    rounds: int = 10
    exponent: float = 1.3
    low: float = 60.0
    high: float = 450.0
    noise_above: float = 4500.0
    voicing: tuple[float, float] = (0.15, 0.35)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 0 or not SAMPLE_RATE / (N_FFT // 2 - 1) < self.low < self.high:
            raise ValueError(f"rounds >= 0 and 47 < low < high are needed: {self}")
        if not 0 <= self.voicing[0] < self.voicing[1]:
            raise ValueError(f"voicing must be two rising numbers: {self}")

    @property
    def context(self) -> int:
        """Frames on either side that a sample depends on, the running phase apart."""
        return (2 + self.rounds) * (N_FFT // HOP)


def pitch_of_mel(mel: Tensor, config: SourceConfig) -> tuple[Tensor, Tensor]:
    """Pitch in Hz and periodicity 0…1 of every frame of a log-mel [T,100], both [T].

    The mel resolves the harmonics of the lowest octaves; their spectrum, restored by the
    pseudo-inverse of the filter bank, has an autocorrelation whose first high peak is the period.
    Periodicity is the height of that peak, corrected for the window. 13 cents median error on
    speech down to about 90 Hz, and a pitch for unvoiced frames too.
    """
    linear = (mel.float().exp() @ _inverse_bank().to(mel.device)).clamp_min(0.0)
    linear[:, int(1500 * N_FFT / SAMPLE_RATE) :] = 0.0
    linear[:, :2] = 0.0
    correlation = torch.fft.irfft(linear, N_FFT)[:, : N_FFT // 2]
    window = torch.hann_window(N_FFT, device=mel.device)
    decay = torch.fft.irfft(torch.fft.rfft(window, 2 * N_FFT).abs().square())[: N_FFT // 2]
    # Part of the window's own decay is divided out: all of it would favour long periods.
    score = correlation / correlation[:, :1].clamp_min(1e-9) / (0.15 + 0.85 * decay / decay[0])
    first, last = int(SAMPLE_RATE / config.high), int(SAMPLE_RATE / config.low)
    inner = score[:, first:last]
    peak = (inner > score[:, first - 1 : last - 1]) & (inner >= score[:, first + 1 : last + 1])
    height = torch.where(peak, inner, -1.0)
    # The shortest period of nearly the highest peak, or multiples of the period would win.
    chosen = (height > 0.85 * height.amax(dim=1, keepdim=True).clamp_min(1e-6)).float().argmax(1)
    lag, rows = chosen + first, torch.arange(len(mel), device=mel.device)
    left, top, right = score[rows, lag - 1], score[rows, lag], score[rows, lag + 1]
    bend = (left - 2 * top + right).clamp_max(-1e-6)
    period = lag + (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    return SAMPLE_RATE / period, top.clamp(0.0, 1.0)


class SourceVocoder(Streaming):
    """Meets ``vocoder.Vocoder``; runs where its mel is, in float32."""

    name = "source"
    mel: MelKind = "vocos"
    least_frames = 3

    def __init__(self, config: SourceConfig | None = None) -> None:
        self.config = config or SourceConfig()

    @property
    def context(self) -> int:
        """As its config has it."""
        return self.config.context

    @torch.inference_mode()
    def __call__(self, mel: Tensor) -> Tensor:
        """Log-mel [B,T,100] to audio [B,(T-1)*256]. Raises ValueError for other shapes, T < 3."""
        if mel.ndim != 3 or mel.shape[-1] != MEL_BINS or mel.shape[1] < self.least_frames:
            raise ValueError(f"mel must be [B, T >= 3, {MEL_BINS}], not {list(mel.shape)}")
        sources = [_Source(self.config) for _ in mel]
        for source, row in zip(sources, mel, strict=True):
            source.extend(row, last=True)
        return self._shape(mel.float(), np.stack([source.samples for source in sources]))

    def _frames(self, mels: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pieces of one mel ([t,100] or [1,t,100]) with the source beside: [t,868] or [1,t,868].

        Every frame is followed by the source's 3 x 256 samples up to the next one, the last by
        zeros. Pitch phase and noise run on from piece to piece, two frames behind the mel.
        """
        source = _Source(self.config)
        waiting: Tensor | None = None  # frames whose source is not yet known
        flat = True

        def packed(frames: Tensor) -> Tensor:
            samples = torch.from_numpy(source.take(len(frames)))
            together = torch.cat([frames, samples.to(frames.device)], dim=-1)
            return together if flat else together[None]

        for mel in mels:
            flat = mel.ndim == 2
            if mel.shape[-1] != MEL_BINS or (not flat and len(mel) != 1):
                raise ValueError(f"one mel at a time, [t, {MEL_BINS}]: {list(mel.shape)}")
            for piece in (mel if flat else mel[0]).float().split(self.chunk_frames):
                source.extend(piece, last=False)
                waiting = piece if waiting is None else torch.cat([waiting, piece])
                ready = source.samples.shape[-1] // HOP
                if ready:
                    yield packed(waiting[:ready])
                    waiting = waiting[ready:]
        if waiting is not None:
            source.extend(waiting[:0], last=True)
            yield packed(waiting)

    def _decoded(self, frames: Tensor) -> Tensor:
        mel, samples = frames.split([MEL_BINS, 3 * HOP], dim=-1)
        count = len(frames), frames.shape[1], 3, HOP
        source = samples.reshape(count).transpose(1, 2).flatten(2)[..., :-HOP]
        return self._shape(mel, source.cpu().numpy())

    def _shape(self, mel: Tensor, source: NDArray[np.float32]) -> Tensor:
        """Source [B,3,S] (pulses, noise, voicing) filtered to ``mel`` [B,T,100], then refined."""
        pulses, noise, voicing = torch.from_numpy(source).to(mel).unbind(1)
        frames = torch.cat([voicing[:, ::HOP], voicing[:, -1:]], dim=1)
        config = self.config
        audio = filtered(mel, pulses, noise, frames, noise_above=config.noise_above)
        return refine(audio, mel, rounds=config.rounds, exponent=config.exponent)


def filtered(
    mel: Tensor,
    pulses: Tensor,
    noise: Tensor,
    voicing: Tensor,
    *,
    noise_above: float,
) -> Tensor:
    """Audio [B,S] out of ``pulses`` (silent where unvoiced) and ``noise`` [B,S] at the mel's level.

    ``mel`` [B,T,100] gives the envelope, ``voicing`` [B,T] 0…1 how much noise stays below
    ``noise_above`` Hz.
    """
    bank = mel_filterbank().to(mel)
    shares = bank / bank.sum(dim=1, keepdim=True).clamp_min(1e-8)
    hertz = torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, device=mel.device)
    share = torch.sigmoid((noise_above - hertz) / 700.0)
    phase = minimum_phase(mel)
    mixed = frames_of(pulses) * share.sqrt() * torch.polar(torch.ones_like(phase), phase)
    mixed = mixed + frames_of(noise) * (1 - share * voicing[..., None]).clamp_min(0.003).sqrt()
    # One round without limit: the flat source takes on the level of the mel.
    gain = (mel.exp().clamp_min(LOG_FLOOR) / (mixed.abs() @ bank + 1e-3)) @ shares.T
    return overlapped(mixed * gain)


class _Source:
    """Pulses, noise and voicing ``samples`` [3,S] as mel frames arrive, whatever the pieces."""

    def __init__(self, config: SourceConfig) -> None:
        self.config = config
        self.samples = np.zeros((3, 0), dtype=np.float32)
        self._rng = np.random.default_rng(config.seed)
        self._raw = np.zeros((0, 2))  # pitch and periodicity that medians still need
        self._last = np.zeros((0, 2))  # the smoothed frame that is reached
        self._phase = 0.0  # in periods
        self._carry = 0.0  # share of a pulse that falls on the next sample

    def take(self, frames: int) -> NDArray[np.float32]:
        """The next samples, frame by frame [frames, 3 * 256], which are forgotten here; zeros
        where there are none."""
        samples = self.samples[:, : frames * HOP]
        self.samples = self.samples[:, frames * HOP :]
        padded = np.pad(samples, ((0, 0), (0, frames * HOP - samples.shape[1])))
        return padded.reshape(3, frames, HOP).transpose(1, 0, 2).reshape(frames, 3 * HOP)

    def extend(self, mel: Tensor, *, last: bool) -> None:
        """Take frames [t,100]; ``last``: no more will come, go on to the end."""
        if len(mel):
            new = torch.stack(pitch_of_mel(mel, self.config), dim=1).cpu().double().numpy()
            if not len(self._raw):  # the first frame stands for those before it
                new = np.concatenate([np.repeat(new[:1], _SMOOTH, axis=0), new])
            self._raw = np.concatenate([self._raw, new])
        if last:
            self._raw = np.concatenate([self._raw, np.repeat(self._raw[-1:], _SMOOTH, axis=0)])
        width = 2 * _SMOOTH + 1
        if len(self._raw) < width:
            return
        smooth = np.median(sliding_window_view(self._raw, width, axis=0), axis=-1)
        self._raw = self._raw[len(smooth) :]
        frames = np.concatenate([self._last, smooth])
        self._last = frames[-1:]
        if len(frames) > 1:
            self.samples = np.concatenate([self.samples, self._render(frames)], axis=1)

    def _render(self, frames: NDArray[np.float64]) -> NDArray[np.float32]:
        count = (len(frames) - 1) * HOP
        place, grid = np.arange(count) / HOP, np.arange(len(frames))
        hertz, periodicity = (np.interp(place, grid, frames[:, i]) for i in (0, 1))
        low, high = self.config.voicing
        voiced = np.clip((periodicity - low) / (high - low), 0.0, 1.0)
        steps = hertz / SAMPLE_RATE
        phase = self._phase + np.cumsum(steps)
        whole = np.floor(phase)
        # A pulse where the phase passes a whole number, shared by the two samples around that
        # moment (one sample late, so that no piece has to reach back).
        at = np.nonzero(np.diff(whole, prepend=np.floor(self._phase)) > 0)[0]
        late = np.clip((phase[at] - whole[at]) / steps[at], 0.0, 1.0)
        size = np.sqrt(SAMPLE_RATE / hertz[at] * voiced[at])
        pulses = np.zeros(count + 1)
        pulses[0] = self._carry
        np.add.at(pulses, at, late * size)
        np.add.at(pulses, at + 1, (1 - late) * size)
        self._carry, self._phase = float(pulses[-1]), float(phase[-1] % 1.0)
        noise = self._rng.standard_normal(count)
        return np.stack([pulses[:-1], noise, voiced]).astype(np.float32)


def minimum_phase(mel: Tensor) -> Tensor:
    """Phase [B,T,513] of the minimum-phase filter with the envelope of ``mel`` [B,T,100].

    From the folded real cepstrum (Oppenheim and Schafer, section 13.5), cut at 2 ms, below any
    period: pulses ring as after a vocal tract instead of standing bare.
    """
    bank = mel_filterbank().to(mel)
    envelope = mel @ (bank / bank.sum(dim=1, keepdim=True).clamp_min(1e-8)).T
    envelope[..., 0], envelope[..., -1] = envelope[..., 1], envelope[..., -2]
    cepstrum = torch.fft.irfft(envelope, N_FFT)
    fold = torch.zeros(N_FFT, device=mel.device)
    fold[0], fold[1 : SAMPLE_RATE // 500] = 1.0, 2.0
    phase: Tensor = torch.fft.rfft(cepstrum * fold).imag
    return phase


@lru_cache(maxsize=1)
def _inverse_bank() -> Tensor:
    return torch.linalg.pinv(mel_filterbank())
