"""The vocoder: shapes, streaming, files and their errors."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omnitalk_cli.errors import SetupError
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.speech.vocoder import (
    FORMAT,
    VocosConfig,
    VocosVocoder,
    frames_of,
    load_vocoder,
    overlapped,
    refine,
    save_vocoder,
)

TINY = VocosConfig(dim=16, intermediate_dim=24, num_layers=3, mel_mean=-5.0, mel_scale=3.0)


@pytest.fixture
def vocoder() -> VocosVocoder:
    torch.manual_seed(0)
    model = VocosVocoder(TINY).eval().requires_grad_(False)
    # At its beginning the network hardly depends on its input; here every frame must matter.
    for name, value in model.named_parameters():
        if name.endswith("weight") and value.ndim > 1:
            value.mul_(6.0)
    return model


def _mel(frames: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, frames, 100, generator=torch.Generator().manual_seed(1)) * 2 - 5


def test_speech_vocoder_gives_a_hop_per_frame_less_one(vocoder: VocosVocoder) -> None:
    assert vocoder.sample_rate == 24_000
    assert vocoder(_mel(10, batch=2)).shape == (2, 9 * 256)
    for wrong in (_mel(1), _mel(5)[0], torch.zeros(1, 5, 80)):
        with pytest.raises(ValueError, match="mel must be"):
            vocoder(wrong)


@pytest.mark.parametrize("rounds", [0, 3])
@pytest.mark.parametrize(("frames", "piece", "chunk"), [(400, 37, 50), (301, 400, 64), (9, 2, 4)])
def test_speech_vocoder_streams_the_same_audio(
    vocoder: VocosVocoder, frames: int, piece: int, chunk: int, rounds: int
) -> None:
    vocoder.config = replace(TINY, rounds=rounds)
    mel = _mel(frames, batch=2)
    whole = vocoder(mel)
    assert whole.std() > 1e-3
    parts = list(vocoder.decode_stream(mel.split(piece, dim=1), chunk=chunk))
    streamed = torch.cat(parts, dim=-1)
    assert streamed.shape == whole.shape
    assert (streamed - whole).abs().max() < 1e-5 * max(1.0, float(whole.abs().max()))
    assert all(part.shape[-1] <= (chunk + vocoder.config.context) * 256 for part in parts)
    single = vocoder.decode(mel[0], chunk=chunk)
    assert (single - whole[0]).abs().max() < 1e-5 * max(1.0, float(whole.abs().max()))


def test_speech_vocoder_streaming_asks_for_bounded_stretches(
    vocoder: VocosVocoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = vocoder.forward
    monkeypatch.setattr(
        vocoder, "forward", lambda mel: (seen.append(mel.shape[1]), forward(mel))[1]
    )
    vocoder.decode(_mel(3000), chunk=200)
    assert len(seen) == 15
    assert max(seen) <= 200 + 2 * TINY.context + 1


def test_speech_vocoder_streaming_needs_two_frames(vocoder: VocosVocoder) -> None:
    with pytest.raises(ValueError, match="2 mel frames"):
        list(vocoder.decode_stream([_mel(1)]))
    with pytest.raises(ValueError, match="chunk"):
        vocoder.decode(_mel(5), chunk=0)


def test_speech_vocoder_refinement_approaches_the_mel() -> None:
    generator = torch.Generator().manual_seed(2)
    time = torch.arange(40 * 256) / 24_000
    sound = 0.1 * torch.sin(2 * torch.pi * (180 * time + 40 * time.square()))[None]
    sound = sound + 0.01 * torch.randn(sound.shape, generator=generator)
    mel = log_mel(sound)
    guess = sound + 0.05 * torch.randn(sound.shape, generator=generator)
    errors = [
        float((log_mel(refine(guess, mel, rounds=rounds)) - mel).abs().mean())
        for rounds in (0, 1, 4)
    ]
    assert errors[2] < errors[1] < 0.5 * errors[0]
    guess.requires_grad_()
    refine(guess, mel, rounds=2).square().sum().backward()
    assert guess.grad is not None and guess.grad.isfinite().all()
    silence = refine(torch.zeros(1, 2560), log_mel(torch.zeros(1, 2560)), rounds=2)
    assert silence.abs().max() == 0


def test_speech_vocoder_file_keeps_config_and_sound(vocoder: VocosVocoder, tmp_path: Path) -> None:
    path = tmp_path / "vocoder.safetensors"
    save_vocoder(vocoder, path, metadata={"license": "CC0-1.0"})
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert load_vocoder(path, rounds=5).config.rounds == 5
    loaded = load_vocoder(path, dtype=torch.bfloat16)
    assert loaded.config == TINY
    assert loaded.metadata["license"] == "CC0-1.0"
    assert next(loaded.parameters()).dtype == torch.float32  # the CPU runs float32
    audio = vocoder(_mel(30))
    assert (loaded(_mel(30)) - audio).abs().max() < 0.05 * audio.abs().max()


def test_speech_vocoder_names_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    with pytest.raises(SetupError, match="not found"):
        load_vocoder(path)
    path.write_bytes(b"no safetensors")
    with pytest.raises(SetupError, match="no usable vocoder"):
        load_vocoder(path)
    weights = {"x": torch.zeros(1)}
    save_file(weights, str(path), metadata={"format": FORMAT, "config": json.dumps({"dims": 3})})
    with pytest.raises(SetupError, match="unknown vocoder settings: dims"):
        load_vocoder(path)
    save_file(weights, str(path), metadata={"format": FORMAT, "config": json.dumps({"dim": 16})})
    with pytest.raises(SetupError, match="no usable vocoder"):
        load_vocoder(path)


def test_speech_vocoder_config_refuses_other_framings() -> None:
    for wrong in ({"hop_length": 300}, {"padding": "same"}, {"mel_scale": 0.0}, {"dim": 0}):
        with pytest.raises(ValueError):
            VocosConfig.from_dict(wrong)


def test_speech_vocoder_module_imports_neither_vocos_nor_torchaudio() -> None:
    code = (
        "import sys, omnitalk_cli.speech.vocoder;"
        "assert not {'vocos', 'torchaudio'} & {n.split('.')[0] for n in sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_speech_vocoder_transforms_are_torchs_own() -> None:
    audio = torch.randn(2, 20 * 256, generator=torch.Generator().manual_seed(0))
    window = torch.hann_window(1024)
    spectrum = torch.stft(audio, 1024, 256, window=window, return_complex=True)
    torch.testing.assert_close(frames_of(audio), spectrum.transpose(1, 2))
    scaled = spectrum * torch.rand(spectrum.shape, generator=torch.Generator().manual_seed(1))
    back = torch.istft(scaled, 1024, 256, window=window)
    torch.testing.assert_close(overlapped(scaled.transpose(1, 2)), back, atol=1e-5, rtol=1e-4)
    assert overlapped(frames_of(audio[:, :512])).shape == (2, 512)
