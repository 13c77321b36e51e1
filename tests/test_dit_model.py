"""The network: sizes, shapes, masks, fusion variants, guidance, checkpoints."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from omnitalk_cli.dit.checkpoint import Normalisation, load_checkpoint, save_checkpoint
from omnitalk_cli.dit.config import FUSIONS, DiTConfig
from omnitalk_cli.dit.guidance import Guidance, guided_field
from omnitalk_cli.dit.layers import rotary_angles, rotate
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.errors import InputError, SetupError

SMALL = {
    "vocabulary_size": 11, "dim": 32, "visual_dim": 16, "heads": 2, "head_dim": 8,
    "fusion_depth": 2, "single_depth": 1, "text_dim": 8, "position_kernel": 3,
    "position_groups": 2,
}  # fmt: skip


def small(**changes: object) -> DualBranchDiT:
    torch.manual_seed(0)
    model = DualBranchDiT(DiTConfig.tiny(**(SMALL | changes)))
    # Zero-initialised layers would hide every mistake behind them.
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def inputs(batch: int = 2, frames: int = 16) -> dict[str, object]:
    torch.manual_seed(1)
    visible = torch.zeros(batch, frames, dtype=torch.bool)
    visible[:, :8] = True
    return {
        "audio": torch.randn(batch, frames, 100),
        "visual": torch.randn(batch, frames, 61),
        "condition": Condition.of(
            torch.randn(batch, frames, 100), torch.randn(batch, frames, 61), visible, visible
        ),
        "text": TextInput(
            ids=torch.randint(1, 11, (batch, 5)),
            index=torch.arange(frames).expand(batch, -1) * 5 // frames,
            phase=torch.zeros(batch, frames, 2),
        ),
        "time": torch.linspace(0.1, 0.9, batch),
    }


def run(model: DualBranchDiT, values: dict, mask: torch.Tensor | None = None) -> tuple:
    frames = values["audio"].shape[1]
    drop = torch.zeros(len(values["audio"]), dtype=torch.bool)
    text = model.text(values["text"], frames, drop)
    return model(
        values["audio"], values["visual"], condition=values["condition"], text=text,
        time=values["time"], mask=mask,
    )  # fmt: skip


def test_base_has_the_papers_size() -> None:
    with torch.device("meta"):
        model = DualBranchDiT(DiTConfig.base())
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 0.75e9 <= count <= 0.85e9
    assert len(model.fusion) == 22
    assert len(model.audio.blocks) == len(model.visual.blocks) == 4


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("visual_dim", [16, 32])
def test_every_fusion_gives_both_streams_and_lets_them_meet(fusion: str, visual_dim: int) -> None:
    model = small(fusion=fusion, visual_dim=visual_dim)
    values = inputs()
    audio, visual = run(model, values)
    assert audio.shape == (2, 16, 100) and visual.shape == (2, 16, 61)
    other_face = values | {"visual": values["visual"] + 1}
    assert not torch.allclose(run(model, other_face)[0], audio)
    other_sound = values | {"audio": values["audio"] + 1}
    assert not torch.allclose(run(model, other_sound)[1], visual)


def test_padding_changes_nothing() -> None:
    # Only in the aligned layout: fillers reach real frames through GRN, in F5-TTS too.
    model = small(patch=1)
    values = inputs(batch=1)
    audio, visual = run(model, values)

    def pad(x: torch.Tensor, value: float = 0) -> torch.Tensor:
        shape = list(x.shape)
        shape[1] = 4
        return torch.cat([x, torch.full(shape, value, dtype=x.dtype)], dim=1)

    condition, text = values["condition"], values["text"]
    padded = values | {
        "audio": pad(values["audio"], 3), "visual": pad(values["visual"], 3),
        "condition": Condition(**{k: pad(v) for k, v in vars(condition).items()}),
        "text": TextInput(ids=text.ids, index=pad(text.index, -1), phase=pad(text.phase)),
    }  # fmt: skip
    mask = torch.ones(1, 20, dtype=torch.bool)
    mask[:, 16:] = False
    audio_padded, visual_padded = run(model, padded, mask)
    torch.testing.assert_close(audio_padded[:, :16], audio, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(visual_padded[:, :16], visual, atol=1e-5, rtol=1e-4)


def test_audio_alone_is_the_audio_branch() -> None:
    model = small()
    values = inputs()
    audio, visual = run(model, values | {"visual": None})
    assert visual is None and audio.shape == (2, 16, 100)


def test_dropped_text_is_no_text() -> None:
    model = small()
    text = inputs()["text"]
    dropped = model.text(text, 16, torch.tensor([True, False]))
    kept = model.text(text, 16, torch.tensor([False, False]))
    assert torch.equal(dropped[1], kept[1])
    unknown = dataclasses.replace(text, index=torch.full_like(text.index, -1))
    torch.testing.assert_close(dropped[0], model.text(unknown, 16, torch.zeros(2).bool())[0])


def test_frames_must_fill_patches() -> None:
    with pytest.raises(ValueError, match="patches"):
        run(small(), inputs(frames=18) | {"text": inputs(frames=16)["text"]})


def test_rotary_positions_are_relative() -> None:
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    angles = rotary_angles(12, 8, torch.device("cpu"))
    rotated_q = rotate(q.expand(1, 1, 12, 8), angles)
    rotated_k = rotate(k.expand(1, 1, 12, 8), angles)
    scores = (rotated_q @ rotated_k.transpose(-1, -2))[0, 0]
    assert float(scores[3, 1]) == pytest.approx(float(scores[9, 7]), abs=1e-5)


@pytest.mark.parametrize(
    ("weights", "evaluations"),
    [((1, 1, 1), 1), ((2, 2, 2), 2), ((3, 2, 1), 4), ((2, 1, 0), 3), ((0, 0, 0), 1)],
)
def test_guidance_skips_what_is_void(weights: tuple, evaluations: int) -> None:
    guidance = Guidance(text=weights[0], audio=weights[1], visual=weights[2])
    terms = guidance.terms()
    assert len(terms) == evaluations
    for stream in (0, 1):
        assert sum(pair[stream] for pair, _ in terms) == pytest.approx(1.0)


def test_contextual_guidance_costs_two_evaluations_and_keeps_the_voice() -> None:
    guidance = Guidance(text=4.0, audio=1.0, visual=1.0, face_text=2.0, form="contextual")
    assert guidance.terms() == [
        ((-3.0, -1.0), (False, True, True)),
        ((4.0, 2.0), (True, True, True)),
    ]
    weighted = Guidance(text=3.0, audio=2.0, visual=0.0, form="contextual").terms()
    for stream in (0, 1):
        assert sum(pair[stream] for pair, _ in weighted) == pytest.approx(1.0)


def test_rescaling_takes_exaggeration_back() -> None:
    model = small(prediction="data")
    values = inputs()
    state = (values["audio"], values["visual"])

    def data(**guidance: object) -> torch.Tensor:
        field = guided_field(
            model, text=values["text"], condition=values["condition"],
            guidance=Guidance(audio=1.0, visual=1.0, form="contextual", **guidance),
        )  # fmt: skip
        return state[0] + 0.6 * field(state, 0.4)[0]

    hidden = ~values["condition"].audio_visible
    with torch.no_grad():
        plain, strong = data(text=1.0), data(text=6.0)
        fixed = data(text=6.0, rescale=1.0)
    for row in range(len(plain)):
        kept = hidden[row]
        assert not torch.allclose(strong[row][kept].std(0), plain[row][kept].std(0), rtol=0.05)
        torch.testing.assert_close(
            fixed[row][kept].std(0), plain[row][kept].std(0), rtol=2e-2, atol=1e-3
        )
        torch.testing.assert_close(
            fixed[row][kept].mean(0), plain[row][kept].mean(0), rtol=1e-3, atol=1e-3
        )


def test_guided_field_is_the_nested_sum() -> None:
    model = small(prediction="velocity")
    values = inputs()
    state = (values["audio"], values["visual"])

    def plain(text: bool, audio: bool, visual: bool) -> torch.Tensor:
        off = torch.tensor([True, True])
        embedded = model.text(values["text"], 16, off & (not text))
        condition = values["condition"].drop(audio=off & (not audio), visual=off & (not visual))
        return model(*state, condition=condition, text=embedded, time=torch.full((2,), 0.4))[1]

    with torch.no_grad():
        field = guided_field(
            model, text=values["text"], condition=values["condition"],
            guidance=Guidance(text=7.0, audio=2.0, visual=0.5, face_text=3.0),
        )  # fmt: skip
        none, t = plain(False, False, False), plain(True, False, False)
        ta, tav = plain(True, True, False), plain(True, True, True)
        expected = none + 3.0 * (t - none) + 2.0 * (ta - t) + 0.5 * (tav - ta)
        torch.testing.assert_close(field(state, 0.4)[1], expected, atol=1e-4, rtol=1e-4)


def normalisation() -> Normalisation:
    return Normalisation(
        mel_mean=torch.zeros(100), mel_std=torch.ones(100),
        code_mean=torch.zeros(61), code_std=torch.ones(61),
    )  # fmt: skip


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "model.safetensors"
    save_checkpoint(
        path, config=model.config, state=model.state_dict(), normalisation=normalisation(),
        extras={"languages": ["en"]}, dtype=torch.float32,
    )  # fmt: skip
    loaded = load_checkpoint(path, device="cpu", dtype=torch.float32)
    assert loaded.extras == {"languages": ["en"]}
    with torch.no_grad():
        for ours, theirs in zip(run(model, inputs()), run(loaded.model, inputs()), strict=True):
            torch.testing.assert_close(ours, theirs)
    assert list(tmp_path.iterdir()) == [path]


def test_bad_checkpoints_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no model weights"):
        load_checkpoint(tmp_path / "none.safetensors", device="cpu", dtype=torch.float32)
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"not tensors at all")
    with pytest.raises(InputError, match="junk"):
        load_checkpoint(junk, device="cpu", dtype=torch.float32)


def test_config_reads_its_own_json_and_refuses_unknown_keys() -> None:
    config = DiTConfig.tiny(fusion="add")
    assert DiTConfig.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match="depht"):
        DiTConfig.from_json(json.dumps({"depht": 3}))
    with pytest.raises(ValueError, match="fusion"):
        DiTConfig.tiny(fusion="concat")
