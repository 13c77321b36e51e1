"""Shards of clips give back what was written, clip by clip, and refuse other files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnitalk_cli.errors import InputError
from omnitalk_cli.training.clip_shards import Clip, ClipFacts, clip_facts, read_clips, write_clips


def _clip(number: int, frames: int) -> Clip:
    rng = np.random.default_rng(number)
    facts = ClipFacts(
        id=f"c{number}", frames=frames, text="Hello — 你好", language="en", speaker="s",
        source="a.mp4", start=1.5, split="heldout" if number else "train",
    )  # fmt: skip
    return Clip(
        facts=facts,
        mel=rng.standard_normal((frames, 100)).astype(np.float16),
        codes=rng.standard_normal((frames, 61)).astype(np.float16),
    )


def test_clips_come_back(tmp_path: Path) -> None:
    clips = [_clip(0, 30), _clip(1, 95)]
    path = tmp_path / "clips-00000.safetensors"
    write_clips(path, clips)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    assert clip_facts(path) == [clip.facts for clip in clips]
    (second,) = read_clips(path, [1])
    assert second.facts == clips[1].facts and second.facts.seconds == pytest.approx(95 / 93.75)
    np.testing.assert_array_equal(second.mel, clips[1].mel)
    np.testing.assert_array_equal(second.codes, clips[1].codes)


def test_streams_must_be_as_long_as_stated() -> None:
    with pytest.raises(ValueError, match="31 frames"):
        Clip(
            facts=ClipFacts(
                id="x", frames=31, text="", language="", speaker="", source="", start=0.0
            ),
            mel=np.zeros((30, 100), np.float16),
            codes=np.zeros((31, 61), np.float16),
        )


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "clips-00000.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="clips-00000"):
        clip_facts(path)
