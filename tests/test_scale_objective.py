"""The loss at scale, what a new network is, and the same gradients by other ways."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from clip_corpus import CONFIG, SHAPE, make_clip, stirred, stirred_checkpoint
from omnitalk_cli.dit.checkpoint import load_checkpoint
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.errors import InputError
from omnitalk_cli.face.codes import CODE_COUNT, DEAD_NAMES
from omnitalk_cli.text.spelling import letters
from omnitalk_cli.training.clip_shards import write_clips
from omnitalk_cli.training.dataset import Batch
from omnitalk_cli.training.loss import LossConfig, flow_loss
from omnitalk_cli.training.scale.average import Average
from omnitalk_cli.training.scale.batches import BatchMaker, ClipBatch
from omnitalk_cli.training.scale.clips import measure_normalisation, read_table
from omnitalk_cli.training.scale.config import ScaleConfig
from omnitalk_cli.training.scale.initial import (
    audio_habits,
    fresh,
    from_checkpoint,
    vocabulary_of,
    with_audio,
)
from omnitalk_cli.training.scale.objective import loss_sums, weights
from omnitalk_cli.training.scale.order import Slot
from omnitalk_cli.training.scale.trainer import checkpoint_blocks


def batch_of(folder: Path, lengths: list[int], frames: int, **more: float) -> ClipBatch:
    folder.mkdir(parents=True, exist_ok=True)
    write_clips(
        folder / "clips-00000.safetensors", [make_clip(i, n) for i, n in enumerate(lengths)]
    )
    table = read_table(folder, letters(), shortest=0.2, longest=30, most_frames=10**6)
    maker = BatchMaker(table.train, measure_normalisation(table.train), ScaleConfig(**more))
    return maker(0, Slot(clips=tuple(range(len(lengths))), frames=frames, first=0))


def test_sums_are_the_means_of_the_other_trainer(tmp_path: Path) -> None:
    """Without padding both trainers have one loss."""
    batch = batch_of(tmp_path, [96, 96, 96], 96)
    network = stirred(fresh(CONFIG, 0))
    visible = ~batch.target
    same = Batch(
        audio=batch.audio, visual=batch.visual, audio_target=batch.target,
        visual_target=batch.target,
        condition=Condition.of(batch.audio, batch.visual, visible, visible).drop(
            audio=batch.drop_audio, visual=batch.drop_visual
        ),
        text=TextInput(ids=batch.ids), drop_text=batch.drop_text,
    )  # fmt: skip
    for norm in ("l1", "l2"):
        config = LossConfig(norm=norm)
        sums = loss_sums(network, batch, config) / batch.target.sum()
        means = flow_loss(
            network, same, config, time=batch.time, noise=(batch.audio_noise, batch.visual_noise)
        )
        assert torch.allclose(sums[0], means.mel, rtol=1e-5)
        # The other trainer enlarges all codes for the dead ones; here groups are plain means.
        larger = CODE_COUNT / (CODE_COUNT - len(DEAD_NAMES))
        assert torch.allclose(sums[1] * larger, means.pose, rtol=1e-5)
        assert torch.allclose(sums[3] * larger, means.gaze, rtol=1e-5)


def test_padding_and_visible_frames_count_for_nothing(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, [96, 64], 96, drop=0.0)
    network = stirred(fresh(CONFIG, 0))
    expected = loss_sums(network, batch, LossConfig())
    padding = ~batch.real[..., None]
    spoilt = dataclasses.replace(
        batch,
        audio=batch.audio + 50.0 * padding,
        visual_noise=batch.visual_noise - 50.0 * padding,
    )
    assert torch.allclose(loss_sums(network, spoilt, LossConfig()), expected, rtol=1e-5)
    unmasked = dataclasses.replace(batch, target=torch.zeros_like(batch.target))
    assert loss_sums(network, unmasked, LossConfig()).tolist() == [0.0] * 4


def test_dead_codes_count_for_nothing(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, [64], 64, drop=1.0)
    network = fresh(CONFIG, 0)  # its output is zero: the error is that of the data alone
    dead = torch.zeros(61)
    dead[5] = 1.0  # cheekPuff
    changed = dataclasses.replace(batch, visual=batch.visual + 9.0 * dead)
    before, after = (loss_sums(network, b, LossConfig()) for b in (batch, changed))
    assert torch.equal(before, after)


@pytest.mark.parametrize("prediction", ["velocity", "data"])
def test_a_perfect_network_has_no_loss(tmp_path: Path, prediction: str) -> None:
    batch = batch_of(tmp_path, [64, 64], 64)
    config = dataclasses.replace(CONFIG, prediction=prediction)

    class Perfect(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = config

        def text(self, *ignored: object) -> None:
            return None

        def forward(self, audio: torch.Tensor, visual: torch.Tensor, **more: torch.Tensor):  # noqa: ANN202
            if prediction == "data":
                return batch.audio, batch.visual
            return batch.audio - batch.audio_noise, batch.visual - batch.visual_noise

    assert float(loss_sums(Perfect(), batch, LossConfig()).sum()) < 1e-3  # type: ignore[arg-type]


@pytest.mark.parametrize("fusion", ["mm_attention", "cross_attention", "linear"])
def test_a_new_network_is_the_identity_and_says_nothing(fusion: str) -> None:
    network = fresh(dataclasses.replace(CONFIG, fusion=fusion), 3)
    assert torch.equal(network.audio.proj.weight, fresh(network.config, 3).audio.proj.weight)
    assert not torch.equal(network.audio.proj.weight, fresh(network.config, 4).audio.proj.weight)
    audio, visual = torch.randn(1, 20, 100), torch.randn(1, 20, 61)
    seen = torch.ones(1, 20, dtype=torch.bool)
    text = network.text(
        TextInput(ids=torch.ones(1, 5, dtype=torch.long)), 20, torch.zeros(1, dtype=torch.bool)
    )
    before: list[torch.Tensor] = []
    after: list[torch.Tensor] = []
    network.fusion[0].register_forward_pre_hook(lambda m, args: before.extend(args[:2]))
    network.fusion[-1].register_forward_hook(lambda m, args, out: after.extend(out))
    single = network.audio.blocks[-1]
    single.register_forward_hook(lambda m, args, out: after.append(out))
    made = network(
        audio, visual, condition=Condition.of(audio, visual, seen, seen), text=text,
        time=torch.tensor([0.4]),
    )  # fmt: skip
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])
    assert torch.equal(before[0], after[2])  # through the single-modality blocks, too
    assert not made[0].any() and not made[1].any()


def test_checkpointed_activations_have_the_same_gradients(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, [96, 80], 96)
    gradients = []
    for again in (False, True):
        network = stirred(fresh(CONFIG, 0))
        if again:
            checkpoint_blocks(network)
        saved = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal saved
            saved += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = loss_sums(network, batch, LossConfig()).sum()
        loss.backward()
        gradients.append(([p.grad for p in network.parameters()], saved))
    assert all(torch.equal(a, b) for a, b in zip(gradients[0][0], gradients[1][0], strict=True))
    assert gradients[1][1] < 0.5 * gradients[0][1]


def audio_checkpoint(path: Path, *, extras: dict | None = None, **changes: object) -> Path:
    """A checkpoint of an audio-only network, as the F5-TTS importer writes them."""
    values = {k: v for k, v in SHAPE.items() if k != "single_depth"} | {
        "audio_only": True, "single_depth": 0, "vocabulary_size": CONFIG.vocabulary_size,
    }  # fmt: skip
    return stirred_checkpoint(path, DiTConfig(**(values | changes)), extras or {})


def test_the_audio_stream_is_taken_exactly(tmp_path: Path) -> None:
    path = audio_checkpoint(tmp_path / "f5.safetensors")
    beginning = with_audio(CONFIG, 0, path)
    network, source = beginning.network, load_checkpoint(path, device="cpu", dtype=torch.float32)
    noisy, seen = torch.randn(2, 40, 100), torch.rand(2, 40) < 0.3
    condition = Condition.of(torch.randn(2, 40, 100), torch.zeros(2, 40, 61), seen, seen)
    ids = TextInput(ids=torch.randint(1, 20, (2, 12)))
    made = []
    for model in (network, source.model):
        text = model.text(ids, 40, torch.zeros(2, dtype=torch.bool))
        time = torch.tensor([0.2, 0.9])
        made.append(model(noisy, None, condition=condition, text=text, time=time)[0])
    # The extra blocks are the identity to the last bit.
    assert torch.equal(made[0], made[1]) and made[0].abs().mean().item() > 0.01
    assert torch.equal(network.visual.proj.weight, fresh(CONFIG, 0).visual.proj.weight)
    assert beginning.normalisation is not None and not beginning.codes
    assert "f5.safetensors" in beginning.inherited


def test_audio_streams_that_do_not_fit_are_told(tmp_path: Path) -> None:
    path = audio_checkpoint(tmp_path / "wide.safetensors", text_dim=8)
    with pytest.raises(InputError, match=r"text_embed.* \(59, 8\)|\(\d+, 8\)"):
        with_audio(CONFIG, 0, path)
    deep = audio_checkpoint(tmp_path / "deep.safetensors", fusion_depth=3)
    with pytest.raises(InputError, match="fusion.2"):
        with_audio(CONFIG, 0, deep)
    other = audio_checkpoint(tmp_path / "other.safetensors", extras={"mel": "bigvgan"})
    with pytest.raises(InputError, match="bigvgan"):
        with_audio(CONFIG, 0, other)
    (tmp_path / "no.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="no.safetensors"):
        vocabulary_of(tmp_path / "no.safetensors")


def test_habits_of_the_audio_stream_come_along(tmp_path: Path) -> None:
    path = audio_checkpoint(tmp_path / "v0.safetensors", text_mask_padding=False, rotary_heads=1)
    assert audio_habits(path) == {"text_mask_padding": False, "rotary_heads": 1}
    assert vocabulary_of(path) is None


def test_a_whole_checkpoint_is_a_beginning(tmp_path: Path) -> None:
    path = stirred_checkpoint(tmp_path / "model.safetensors")
    network = from_checkpoint(CONFIG, 5, path).network
    expected = load_checkpoint(path, device="cpu", dtype=torch.float32).model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_the_average_lends_its_weights(tmp_path: Path) -> None:
    network = DualBranchDiT(CONFIG)
    average = Average(network)
    before = network.audio.proj.weight.detach().clone()
    stirred(network)
    now = network.audio.proj.weight.detach().clone()
    average.update(0.75)
    with average.used():
        assert torch.allclose(network.audio.proj.weight, 0.75 * before + 0.25 * now)
        assert torch.equal(average.shadow["audio.proj.weight"], now)
    assert torch.equal(network.audio.proj.weight, now)
    assert weights(LossConfig()) == (1.0, 0.2, 0.6, 0.1)
