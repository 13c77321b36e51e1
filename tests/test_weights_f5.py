"""F5-TTS' checkpoints in our network: equal to a naive forward pass; bad files are told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import f5_layout
from omnitalk_cli.dit.checkpoint import Checkpoint, load_checkpoint
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.flow import time_grid
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.errors import InputError
from omnitalk_cli.pipeline.prompted import PromptedOptions, sample
from omnitalk_cli.weights.importers import f5_tts

FRAMES, GIVEN = 40, 15
CONVOLUTION = "input_embed.conv_pos_embed.conv1d.0"
IDS = torch.tensor([9, 6, 13, 13, 16, 1, 33, 34, 28])


def imported(folder: Path, *, first: bool, kind: str = "safetensors") -> Checkpoint:
    path = f5_layout.publish(folder, f5_layout.tensors(), kind=kind)
    convert = f5_tts.convert_v0 if first else f5_tts.convert_v1
    convert(path, {"vocab.txt": folder / "vocab.txt"}, folder / "ours.safetensors")
    return load_checkpoint(folder / "ours.safetensors", device="cpu", dtype=torch.float32)


def inputs() -> tuple[torch.Tensor, torch.Tensor, Condition]:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(1, FRAMES, 100, generator=generator)
    given = torch.randn(1, FRAMES, 100, generator=generator)
    visible = (torch.arange(FRAMES) < GIVEN)[None]
    condition = Condition.of(given, torch.zeros(1, FRAMES, 61), visible, torch.zeros_like(visible))
    return noise, condition.audio, condition


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("drop", [False, True])
def test_one_evaluation_is_that_of_the_published_network(
    tmp_path: Path, first: bool, drop: bool
) -> None:
    model = imported(tmp_path, first=first).model
    noise, given, condition = inputs()
    dropped = torch.tensor([drop])
    text = model.text(TextInput(ids=IDS[None]), FRAMES, dropped)
    ours, motion = model(
        noise, None, condition=condition.drop(audio=dropped, visual=dropped), text=text,
        time=torch.tensor([0.4]),
    )  # fmt: skip
    theirs = f5_layout.forward(
        f5_layout.tensors(), noise[0], given[0], IDS, 0.4, first=first, drop=drop
    )
    assert motion is None
    torch.testing.assert_close(ours[0], theirs, atol=2e-5, rtol=0)
    assert theirs.std() > 0.1


def test_sampling_is_eulers_with_guidance_from_no_condition_at_all(tmp_path: Path) -> None:
    model = imported(tmp_path, first=False).model
    noise, given, condition = inputs()
    options = PromptedOptions(steps=5, cfg_text=3.0, cfg_audio=3.0)
    (ours,) = sample(model, condition, TextInput(ids=IDS[None]), (noise,), options)
    state, weights = noise[0], f5_layout.tensors()
    grid = time_grid("epss", 5)
    for start, end in zip(grid[:-1], grid[1:], strict=True):
        with_all, without = (
            f5_layout.forward(weights, state, given[0], IDS, start, first=False, drop=drop)
            for drop in (False, True)
        )
        state = state + (end - start) * (with_all + 2 * (with_all - without))
    torch.testing.assert_close(ours[0, GIVEN:], state[GIVEN:], atol=2e-4, rtol=0)
    torch.testing.assert_close(ours[0, :GIVEN], given[0, :GIVEN])


def test_torch_checkpoints_give_the_same_weights(tmp_path: Path) -> None:
    states = []
    for kind in ("safetensors", "pt"):
        folder = tmp_path / kind
        folder.mkdir()
        states.append(imported(folder, first=False, kind=kind).model.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    checkpoint = imported(tmp_path, first=True)
    config = checkpoint.model.config
    assert (config.audio_only, config.rotary_heads, config.text_mask_padding) == (True, 1, False)
    assert (config.dim, config.fusion_depth, config.single_depth) == (128, 2, 0)
    assert checkpoint.extras["family"] == "f5-tts"
    assert tuple(checkpoint.extras["tokens"]) == f5_layout.TOKENS


def test_the_mel_of_bigvgan_is_remembered(tmp_path: Path) -> None:
    path = f5_layout.publish(tmp_path, f5_layout.tensors(), kind="pt")
    target = tmp_path / "ours.safetensors"
    f5_tts.convert_v0_bigvgan(path, {"vocab.txt": tmp_path / "vocab.txt"}, target)
    assert load_checkpoint(target, device="cpu", dtype=torch.float32).extras["mel"] == "bigvgan"


def test_it_is_the_audio_branch_of_the_whole_network(tmp_path: Path) -> None:
    """In the paper's network, with its extra blocks closed, the same weights say the same."""
    found = imported(tmp_path, first=False).model
    sizes = {
        name: getattr(found.config, name)
        for name in ("vocabulary_size", "dim", "heads", "fusion_depth", "text_dim",
                     "text_conv_layers")
    }  # fmt: skip
    torch.manual_seed(0)
    whole = DualBranchDiT(DiTConfig.base(**sizes, visual_dim=64, single_depth=2)).eval()
    missing, unexpected = whole.load_state_dict(found.state_dict(), strict=False)
    assert not unexpected
    assert all("visual" in name or name.startswith("audio.blocks.") for name in missing)
    noise, _, condition = inputs()
    drop = torch.tensor([False])

    def heard(model: DualBranchDiT) -> torch.Tensor:
        text = model.text(TextInput(ids=IDS[None]), FRAMES, drop)
        return model(noise, None, condition=condition, text=text, time=torch.tensor([0.4]))[0]

    torch.testing.assert_close(heard(whole), heard(found), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda t: t.pop("proj_out.weight"), "proj_out"),
        (lambda t: t.update({"extra.weight": torch.ones(2)}), "extra.weight"),
        (lambda t: t.update({"proj_out.bias": torch.ones(7)}), "not a checkpoint of F5-TTS"),
        (lambda t: t.pop("transformer_blocks.1.attn.to_k.weight"), "to_k"),
        (lambda t: t.update({f"{CONVOLUTION}.weight": torch.ones(8, 8)}), "not a checkpoint"),
        (lambda t: t.update({f"{CONVOLUTION}.weight": torch.ones(8, 0, 31)}), "not a checkpoint"),
        (lambda t: t.clear(), "no transformer"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, spoil: object, why: str) -> None:
    found = f5_layout.tensors()
    spoil(found)  # type: ignore[operator]
    path = f5_layout.publish(tmp_path, found)
    with pytest.raises(InputError, match=why) as caught:
        f5_tts.convert_v1(path, {"vocab.txt": tmp_path / "vocab.txt"}, tmp_path / "o.safetensors")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "o.safetensors").exists()


def test_the_vocabulary_must_be_there_and_fit(tmp_path: Path) -> None:
    path = f5_layout.publish(tmp_path, f5_layout.tensors())
    with pytest.raises(InputError, match=r"vocab\.txt is needed"):
        f5_tts.convert_v1(path, {}, tmp_path / "o.safetensors")
    (tmp_path / "vocab.txt").write_text(" \na\nb\n", encoding="utf-8")
    with pytest.raises(InputError, match="3 tokens"):
        f5_tts.convert_v1(path, {"vocab.txt": tmp_path / "vocab.txt"}, tmp_path / "o.safetensors")
