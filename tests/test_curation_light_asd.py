"""Light-ASD: the public layout, its inputs, and its place among the speaker models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from curation_samples import FPS, make_talk, tracked
from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.media.probe import probe
from omnitalk_cli.training.curation.active_speaker import Stretch, choose_speaker
from omnitalk_cli.training.curation.cutting import Piece
from omnitalk_cli.training.curation.light_asd import LightAsd, convert, load_light_asd
from omnitalk_cli.training.curation.light_asd_input import LightAsdModel, grey_faces, mfcc
from omnitalk_cli.training.curation.settings import CurationSettings
from omnitalk_cli.training.curation.stages import StageCache


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Random weights as the authors store them: with the picture's classifier, and counters."""
    torch.manual_seed(0)
    weights = LightAsd().state_dict()
    weights["lossV.FC.weight"], weights["lossV.FC.bias"] = torch.randn(2, 128), torch.randn(2)
    torch.save(weights, tmp_path / "light.model")
    return tmp_path / "light.model"


def test_layout_is_the_public_one() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in LightAsd().state_dict().items()}
    for name, shape in {
        "model.visualEncoder.block1.s_3.weight": (32, 1, 1, 3, 3),
        "model.visualEncoder.block1.bn_s_5.running_var": (32,),
        "model.visualEncoder.block2.t_5.weight": (64, 64, 5, 1, 1),
        "model.visualEncoder.block3.last.weight": (128, 128, 1, 1, 1),
        "model.audioEncoder.block1.m_3.weight": (32, 1, 3, 1),
        "model.audioEncoder.block3.t_5.weight": (128, 128, 1, 5),
        "model.audioEncoder.block2.bn_last.bias": (64,),
        "model.GRU.gru_forward.weight_ih_l0": (384, 128),
        "model.GRU.gru_backward.bias_hh_l0": (384,),
        "lossAV.FC.weight": (2, 128),
    }.items():
        assert shapes[name] == shape
    trained = sum(p.numel() for name, p in LightAsd().named_parameters() if "lossAV" not in name)
    assert trained // 10_000 == 102  # the paper says 1.02 M


def test_scores_have_the_length_of_the_shorter_stream() -> None:
    network = LightAsd().eval()
    faces = torch.randint(0, 256, (30, 112, 112), dtype=torch.uint8)
    with torch.inference_mode():
        assert network(torch.randn(2, 40, 13), torch.randn(2, 10, 112, 112)).shape == (2, 10)
    scores = network.scores(torch.randn(110, 13), faces)
    assert scores.shape == (27,) and torch.isfinite(scores).all()


def test_checkpoints_are_converted(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "light.safetensors"
    convert(checkpoint, target)
    network = load_light_asd(target)
    stored = torch.load(checkpoint, weights_only=True)
    torch.testing.assert_close(network.lossAV["FC"].weight, stored["lossAV.FC.weight"])
    for path in (checkpoint, tmp_path / "gone.safetensors"):
        with pytest.raises(SetupError, match="no weights of Light-ASD"):
            load_light_asd(path)
    other = tmp_path / "other.model"
    torch.save({"weight": torch.zeros(2)}, other)
    with pytest.raises(InputError, match="no checkpoint of Light-ASD"):
        convert(other, target)


def test_mfcc_of_a_tone() -> None:
    """Energy first, then the cosine transform of log mel bands; silence does not break it."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    features = mfcc(0.5 * tone)
    assert features.shape == (99, 13) and np.isfinite(features).all()
    louder = mfcc(tone)
    assert np.allclose(louder[:, 0] - features[:, 0], np.log(4), atol=1e-3)
    assert np.allclose(louder[:, 1:], features[:, 1:], atol=0.05)
    assert np.isfinite(mfcc(np.zeros(500, np.float32))).all()


def test_it_judges_every_face_and_is_cached(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(checkpoint, tmp_path / "light.safetensors")
    info = probe(make_talk(tmp_path / "a.mp4", seconds=2))
    face = tracked(np.zeros(round(2 * FPS)))
    stretch = Stretch(
        info=info, start=0.0, end=2.0, faces=[face, face], faces_key="k",
        cache=StageCache(tmp_path / "work"),
    )  # fmt: skip
    pictures = grey_faces(stretch)
    assert [p.shape for p in pictures] == [(50, 112, 112)] * 2 and pictures[0].dtype == np.uint8
    model = LightAsdModel(tmp_path / "light.safetensors", CurationSettings(min_asd=-20))
    piece = Piece(start=0.5, end=2.0)
    first = choose_speaker(model, stretch, piece)
    assert "asd" in first.values and first.seen == 2
    assert first.values["asd"] == pytest.approx(first.values["runner_up"])
    monkeypatch.setattr(model, "_courses", lambda stretch: 1 / 0)
    assert choose_speaker(model, stretch, piece) == first
    strict = LightAsdModel(tmp_path / "light.safetensors", CurationSettings(min_asd=20))
    assert "Light-ASD gives" in choose_speaker(strict, stretch, piece).reason
    with pytest.raises(SetupError, match="--speaker-weights"):
        LightAsdModel(None, CurationSettings())
