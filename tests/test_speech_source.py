"""The vocoder without weights: pitch, agreement with the mel, streaming."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnitalk_cli.evaluation.speech import mel_l1, pitch_statistics
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.speech.source import SourceConfig, SourceVocoder, pitch_of_mel


def _vowel(hertz: float, seconds: float = 0.6) -> torch.Tensor:
    """A buzzing vowel with three formants, level about that of speech."""
    phase = 2 * np.pi * hertz * np.arange(int(seconds * 24_000)) / 24_000
    audio = np.zeros_like(phase)
    for k in range(1, int(10_000 / hertz)):
        gain = sum(1 / (1 + ((k * hertz - f) / w) ** 2) for f, w in ((600, 90), (1400, 120)))
        audio += (gain + 0.01) * np.cos(k * phase + 0.3 * k)
    audio *= 0.08 / audio.std()
    rng = np.random.default_rng(0)
    return torch.from_numpy((audio + 1e-3 * rng.standard_normal(len(audio))).astype(np.float32))


@pytest.mark.parametrize("hertz", [95.0, 131.0, 222.0, 340.0])
def test_speech_source_reads_the_pitch_from_the_mel(hertz: float) -> None:
    pitch, periodicity = pitch_of_mel(log_mel(_vowel(hertz)), SourceConfig())
    assert float(pitch[5:-5].median()) == pytest.approx(hertz, rel=0.025)
    assert float(periodicity[5:-5].median()) > 0.3
    noise = 0.1 * torch.randn(24_000, generator=torch.Generator().manual_seed(0))
    _, aperiodic = pitch_of_mel(log_mel(noise), SourceConfig())
    assert float(aperiodic.median()) < 0.3


@pytest.mark.parametrize("hertz", [110.0, 222.0])
def test_speech_source_resynthesis_keeps_mel_pitch_and_crest(hertz: float) -> None:
    audio = _vowel(hertz)
    mel = log_mel(audio)
    again = SourceVocoder(SourceConfig(rounds=6))(mel[None])[0]
    assert again.shape == ((len(mel) - 1) * 256,) and again.isfinite().all()
    assert mel_l1(log_mel(again).numpy(), mel.numpy()) < 0.2
    assert pitch_statistics(again.numpy()).median_hz == pytest.approx(hertz, rel=0.02)
    assert float(again.std()) == pytest.approx(float(audio.std()), rel=0.15)


@pytest.mark.parametrize(("frames", "piece", "chunk"), [(300, 41, 60), (90, 90, 30), (12, 1, 3)])
def test_speech_source_streams_the_same_audio(frames: int, piece: int, chunk: int) -> None:
    rng = np.random.default_rng(1)
    mel = log_mel(torch.cat([_vowel(120.0, 1.7), _vowel(210.0, 1.6)]))[:frames]
    mel = mel + torch.from_numpy(0.2 * rng.standard_normal(mel.shape).astype(np.float32))
    vocoder = SourceVocoder(SourceConfig(rounds=2))
    whole = vocoder(mel[None])
    streamed = torch.cat(list(vocoder.decode_stream(mel.split(piece), chunk=chunk)))
    assert streamed.shape == whole[0].shape
    assert (streamed - whole[0]).abs().max() < 1e-4
    batched = vocoder.decode(mel[None], chunk=chunk)
    assert batched.shape == whole.shape and torch.allclose(batched[0], streamed, atol=1e-4)


def test_speech_source_silence_stays_silent() -> None:
    audio = SourceVocoder()(torch.full((1, 40, 100), float(np.log(1e-5))))
    assert audio.abs().max() < 1e-3


def test_speech_source_is_deterministic_and_checks_its_input() -> None:
    mel = log_mel(_vowel(150.0, 0.2))[None]
    assert torch.equal(SourceVocoder()(mel), SourceVocoder()(mel))
    other = SourceVocoder(SourceConfig(seed=1))(mel)
    assert not torch.equal(SourceVocoder()(mel), other)
    for wrong in (mel[0], mel[:, :2], torch.zeros(1, 9, 80)):
        with pytest.raises(ValueError, match="mel must be"):
            SourceVocoder()(wrong)
    with pytest.raises(ValueError, match="3 mel frames"):
        list(SourceVocoder().decode_stream([mel[0, :2]]))
    for bad in ({"low": 30.0}, {"rounds": -1}, {"voicing": (0.5, 0.4)}):
        with pytest.raises(ValueError):
            SourceConfig(**bad)
