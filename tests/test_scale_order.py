"""Which clips an update takes, and what is drawn for them: exact, complete, the same for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clip_corpus import make_clip, make_corpus
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.text.spelling import letters
from omnitalk_cli.training.clip_shards import write_clips
from omnitalk_cli.training.scale.batches import BatchMaker, Feed
from omnitalk_cli.training.scale.clips import FeatureReader, measure_normalisation, read_table
from omnitalk_cli.training.scale.config import ScaleConfig
from omnitalk_cli.training.scale.draws import draw
from omnitalk_cli.training.scale.order import BatchOrder, Position, Slot, dealt


def order(lengths: list[int], *, frames: int = 640, seed: int = 0, most: int = 64) -> BatchOrder:
    return BatchOrder(lengths, frames=frames, bucket=32, max_clips=most, seed=seed)


@given(
    st.lists(st.integers(1, 600), min_size=1, max_size=60), st.integers(0, 9), st.integers(1, 7)
)  # fmt: skip
def test_an_epoch_has_every_clip_once_within_the_budget(
    lengths: list[int], epoch: int, most: int
) -> None:
    batches = order(lengths, most=most).epoch(epoch)
    assert sorted(clip for batch in batches for clip in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(-(-lengths[clip] // 32) * 32 for clip in batch)
        assert len(batch) * longest <= 640 and len(batch) <= most


@given(st.integers(0, 40), st.integers(1, 5), st.integers(1, 12))
def test_updates_follow_each_other_without_a_gap(skipped: int, count: int, updates: int) -> None:
    row = order([100 + 7 * i for i in range(20)])
    everything, _ = row.update(Position(), skipped + count * updates)
    _, place = row.update(Position(), skipped) if skipped else ([], Position())
    seen = []
    for _ in range(updates):
        # A process that was started anew makes its own table.
        slots, place = order([100 + 7 * i for i in range(20)]).update(place, count)
        assert slots[0].first == 0
        assert [s.first for s in slots[1:]] == list(np.cumsum([len(s.clips) for s in slots])[:-1])
        seen += [slot.clips for slot in slots]
    assert seen == [slot.clips for slot in everything[skipped:]]


def test_epochs_differ_and_batches_hold_clips_of_like_length() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(90, 1500, 3000).tolist()
    row = order(lengths, frames=12_800)
    assert row.epoch(0) != row.epoch(1) != order(lengths, frames=12_800, seed=1).epoch(1)
    slots, _ = row.update(Position(), len(row.epoch(0)))
    real = sum(lengths[clip] for slot in slots for clip in slot.clips)
    assert real / sum(slot.frames * len(slot.clips) for slot in slots) > 0.96
    # Not only the order of batches changes: clips meet others.
    assert set(row.epoch(0)).isdisjoint(row.epoch(1))


def test_dealing_gives_everything_once() -> None:
    slots = [Slot(clips=(i,), frames=32, first=i) for i in range(6)]
    parts = [dealt(slots, rank, 3) for rank in range(3)]
    assert [len(part) for part in parts] == [2, 2, 2]
    assert sorted(slot.first for part in parts for slot in part) == list(range(6))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="700"):
        order([100, 700])
    with pytest.raises(ValueError, match="no clips"):
        order([])


def test_draws_follow_the_paper() -> None:
    config = ScaleConfig()
    draws = [draw(config, step=3, sample=i, frames=800, channels=2) for i in range(2000)]
    spans = np.array([d.end - d.begin for d in draws]) / 800
    assert spans.min() >= 0.699 and spans.max() <= 1 and abs(spans.mean() - 0.85) < 0.01
    assert all(0 <= d.begin < d.end <= 800 for d in draws)
    logits = np.array([np.log(d.time / (1 - d.time)) for d in draws])
    assert abs(logits.mean()) < 0.07 and abs(logits.std() - 1) < 0.05
    dropped = np.array([[d.drop_text, d.drop_audio, d.drop_visual] for d in draws])
    assert np.abs(dropped.mean(0) - 0.2).max() < 0.03
    assert abs(np.corrcoef(dropped.T.astype(float))[0, 1]) < 0.06
    noise = np.concatenate([d.noise for d in draws[:50]])
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01


def test_draws_hang_on_seed_update_and_place_only() -> None:
    def one(step: int = 1, sample: int = 2, seed: int = 0) -> float:
        made = draw(ScaleConfig(seed=seed), step=step, sample=sample, frames=50, channels=3)
        return float(made.noise.sum())

    assert one() == one()
    assert len({one(), one(step=2), one(sample=3), one(seed=1)}) == 4
    patched = draw(ScaleConfig(), step=0, sample=0, frames=80, channels=1, patch=4)
    assert patched.begin % 4 == patched.end % 4 == 0


def table(folder: Path, **changes: float):  # noqa: ANN201
    limits = {"shortest": 1.0, "longest": 30.0, "most_frames": 640} | changes
    return read_table(folder, letters(), **limits)  # type: ignore[arg-type]


def test_unusable_clips_are_counted_by_reason(tmp_path: Path) -> None:
    write_clips(
        tmp_path / "clips-00000.safetensors",
        [
            make_clip(0, 200), make_clip(1, 50), make_clip(2, 900), make_clip(3, 2000),
            make_clip(4, 100, text="x" * 101), make_clip(5, 100, text="привет"),
            make_clip(6, 100, text="§§"), make_clip(7, 150, text="你好", language="zh"),
            make_clip(8, 100, split="heldout"),
        ],
    )  # fmt: skip
    found = table(tmp_path, longest=20.0)
    assert [ref.facts.id for ref in found.train] == ["clip0", "clip7"]
    assert [ref.facts.id for ref in found.heldout] == ["clip8"]
    assert found.languages == ["en", "zh"]
    assert found.left_out == {
        "shorter than 1 s": 1, "longer than 20 s": 1, "longer than a batch": 1,
        "more tokens than frames": 1, "text cannot be written in the vocabulary": 1, "no text": 1,
    }  # fmt: skip


def test_corpora_without_clips_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="corpus build"):
        table(tmp_path)
    write_clips(tmp_path / "clips-00000.safetensors", [make_clip(0, 20)])
    with pytest.raises(InputError, match="1 shorter"):
        table(tmp_path)


def test_batches_hold_the_clips_and_nothing_else(tmp_path: Path) -> None:
    found = table(make_corpus(tmp_path / "corpus"))
    normalisation = measure_normalisation(found.train)
    config = ScaleConfig(frames=640)
    maker = BatchMaker(found.train, normalisation, config)
    slot = order([ref.frames for ref in found.train]).update(Position(), 1)[0][0]
    batch = maker(5, slot)
    assert batch.audio.shape == (len(slot.clips), slot.frames, 100)
    assert batch.visual.shape == (len(slot.clips), slot.frames, 61)
    for row, clip in enumerate(slot.clips):
        ref = found.train[clip]
        raw = torch.from_numpy(FeatureReader()(ref))
        back = batch.audio[row, : ref.frames] * normalisation.mel_std + normalisation.mel_mean
        assert torch.allclose(back, raw[:, :100], atol=1e-5)
        assert not batch.audio[row, ref.frames :].any()
        assert batch.real[row].sum() == ref.frames and not batch.target[row, ref.frames :].any()
        assert batch.ids[row].count_nonzero() == len(ref.ids)
        drawn = draw(config, step=5, sample=slot.first + row, frames=ref.frames, channels=161)
        assert batch.target[row].sum() == drawn.end - drawn.begin
    everything = torch.cat([torch.from_numpy(FeatureReader()(ref)) for ref in found.train])
    both = torch.cat([normalisation.mel_mean, normalisation.code_mean])
    assert torch.allclose(both, everything.mean(0), atol=1e-4)
    # In one piece each, or a GPU would wait for every copy of them.
    assert all(tensor.is_contiguous() for tensor in vars(batch).values())


def test_the_feed_is_the_same_for_any_number_of_processes(tmp_path: Path) -> None:
    found = table(make_corpus(tmp_path / "corpus"))
    lengths = [ref.frames for ref in found.train]
    normalisation = measure_normalisation(found.train)

    def sums(rank: int, world: int, accumulate: int, start: int = 0) -> list[list[float]]:
        config = ScaleConfig(frames=640, accumulate=accumulate, readers=2)
        place = Position()
        for _ in range(start):
            _, place = order(lengths).update(place, world * accumulate)
        maker = BatchMaker(found.train, normalisation, config)
        with Feed(
            order(lengths), maker, step=start, position=place, rank=rank, world=world
        ) as feed:
            portions = [portion for _, portion in zip(range(9 - start), feed, strict=False)]
        return [[float(b.audio_noise.sum() + b.audio.sum()) for b in p.batches] for p in portions]

    alone = sums(0, 1, 4)
    pair = [sums(rank, 2, 2) for rank in range(2)]
    woven = [[a[0], b[0], a[1], b[1]] for a, b in zip(*pair, strict=True)]
    assert alone == woven
    assert sums(0, 1, 4, start=5) == alone[5:]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"accumulate": 0}, "accumulate"),
        ({"parallel": "zero"}, "zero"),
        ({"drop": 1.5}, "0…1"),
        ({"span_share": (0.9, 0.5)}, "0…1"),
        ({"shortest": 5, "longest": 2}, "lengths"),
        ({"minutes": 0}, "minutes"),
    ],
)
def test_settings_out_of_range(changes: dict, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        ScaleConfig(**changes)


def test_rate_and_average_over_the_run() -> None:
    config = ScaleConfig(steps=1000, learning_rate=1.0, warmup_steps=100, decay_share=0.5)
    rates = [config.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == rates[300] == 1.0
    assert rates[750] == pytest.approx(0.5) and 0 < rates[-1] < 0.01
    assert config.keep_share(1) < 0.2 and config.keep_share(10**7) == 0.9999
    assert ScaleConfig().warm == 20_000 and ScaleConfig(steps=100).warm == 5
