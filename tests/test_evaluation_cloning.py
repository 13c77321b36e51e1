"""Cloning, style and lip measurements: the arithmetic, without any judge from outside."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.anchors import (
    ClipFeatures,
    compare,
    contrast,
    expression_features,
    face_sharpness,
    pose_features,
    table,
)
from omnitalk_cli.evaluation.cloning import CopyCache, Utterance, summary
from omnitalk_cli.evaluation.lips import lip_agreement
from omnitalk_cli.evaluation.listeners import Heard, at_level, rates
from omnitalk_cli.evaluation.recogniser import spelled, word_errors
from omnitalk_cli.evaluation.speaker import cosine
from omnitalk_cli.evaluation.speech import pitch_statistics
from omnitalk_cli.evaluation.virtual import (
    READER,
    SPEAKERS,
    Sentence,
    VirtualSpeaker,
    assign,
    copy_speaker,
    read_sentences,
)
from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.face.rig import FaceRig
from omnitalk_cli.speech.source import SourceVocoder


def test_word_errors_tell_slips_from_skipped_and_repeated_words() -> None:
    right = word_errors("it's a fine day", "It's a fine day!")
    assert (right.words, right.edits) == (4, 0)
    slip = word_errors("the cat sad on a mat", "the cat sat on the mat")
    assert (slip.substituted, slip.deleted, slip.inserted) == (2, 0, 0)
    skipped = word_errors("one two seven", "one two three four five six seven")
    assert (skipped.deleted, skipped.longest_gap, skipped.edits) == (4, 4, 4)
    apart = word_errors("one three five", "one two three four five")
    assert (apart.deleted, apart.longest_gap) == (2, 1)
    repeated = word_errors("one two one two three", "one two three")
    assert (repeated.inserted, repeated.longest_excess) == (2, 2)
    assert word_errors("", "not a word").longest_gap == 3
    with pytest.raises(InputError, match="no word"):
        word_errors("anything", "...")
    assert spelled("Dr. Li has 42 cats.") == "doctor li has forty two cats"


def _heard(**changes: int) -> Heard:
    base = {"words": 10, "edits": 2, "gaps": 0, "excesses": 0, "letters": 50,
            "letters_heard": 49, "letter_edits": 5}  # fmt: skip
    return Heard(**(base | changes))


def test_rates_weigh_utterances_by_their_length() -> None:
    found = rates([_heard(), _heard(words=30, edits=2, gaps=1, letters=150, letter_edits=35)])
    assert found["wer"] == pytest.approx(4 / 40)
    assert found["cer"] == pytest.approx(40 / 200)
    assert (found["skipped"], found["repeated"]) == (0.5, 0.0)


def _utterance(speaker: str, edits: int, likeness: float) -> Utterance:
    return Utterance(
        speaker=speaker, generated=_heard(edits=edits), copied=_heard(), shifted=_heard(edits=4),
        likeness=likeness, prepared=likeness, stranger=0.5, pitch=-1.0, cpu=1.0, seconds=4.0,
    )  # fmt: skip


def test_summary_gives_ratios_and_says_what_is_met() -> None:
    found = summary([_utterance("a", 3, 0.9), _utterance("a", 3, 0.9), _utterance("b", 3, 0.82)])
    assert [row["speaker"] for row in found["speakers"]] == ["a", "b"]
    assert found["ratios"]["wer_over_copied"] == pytest.approx(1.5)
    assert found["ratios"]["wer_over_shifted"] == pytest.approx(0.75)
    assert not found["meets"]["wer_over_copied"] and found["meets"]["wer_over_shifted"]
    assert found["meets"]["likeness"] and not found["meets"]["likeness_of_every_speaker"]
    assert found["mean"]["least_likeness"] == 0.82
    assert found["mean"]["real_time_factor"] == 0.25


def test_copies_are_heard_once_per_setting(tmp_path: Path) -> None:
    calls: list[str] = []

    def make() -> Heard:
        calls.append("heard")
        return _heard()

    path = tmp_path / "copies.json"
    for setting in ("a", "a", "b"):
        cache = CopyCache(path, setting=setting)
        assert cache.get("x", make) == cache.get("x", make) == _heard()
    assert len(calls) == 2
    path.write_text("nonsense")
    with pytest.raises(InputError, match="no cache"):
        CopyCache(path, setting="a")


def test_pairs_spread_over_sentences_and_speakers() -> None:
    sentences = [Sentence(key=str(i), text=str(i), path=Path("x")) for i in range(89)]
    few = assign(sentences, 20)
    assert few[0][0].key == "0" and int(few[-1][0].key) > 80
    assert {one.name for _, one in few} == {one.name for one in SPEAKERS}
    many = assign(sentences, 100)
    assert len(many) == 100 == len({(s.key, v.name) for s, v in many})
    for number, (_, speaker) in enumerate(many):
        other = copy_speaker(number, speaker)
        assert other.base == READER
        assert other == speaker or speaker.base != READER


def test_sentences_come_from_the_held_out_part_and_from_those_with_a_text(tmp_path: Path) -> None:
    human, speech = tmp_path / "human", tmp_path / "speech"
    human.mkdir(), speech.mkdir()
    with open(human / "metadata.csv", "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "speaker", "lang", "text"])
        rows.writerows([f"k/{i:03}.opus", READER, "en", f"text {i}"] for i in range(40))
    (speech / "lj.csv").write_text("file,text\na.wav,Printed.\nb.wav,\n")
    keys = [sentence.key for sentence in read_sentences(human, speech)]
    assert keys == ["038", "039", "a"]
    with pytest.raises(InputError, match="lj.csv"):
        read_sentences(human, human)


def test_a_virtual_speaker_moves_the_pitch_and_keeps_the_time() -> None:
    seconds = np.arange(48_000) / 24_000
    audio = sum(np.sin(2 * np.pi * 150 * k * seconds + k) / k for k in range(1, 20))
    mel = VirtualSpeaker(base="x", factor=1.2, seed=1).mel((0.05 * audio).astype(np.float32))
    assert len(mel) == pytest.approx(48_000 / 256 + 1, abs=3)
    import torch

    sound = SourceVocoder()(torch.from_numpy(mel)[None])[0].numpy()
    assert pitch_statistics(sound).median_hz == pytest.approx(180, rel=0.03)


def _mouth(frames: int, rate: float, late: float = 0.0) -> np.ndarray:
    times = np.arange(frames) / rate - late
    codes = np.zeros((frames, 61), np.float32)
    codes[:, CODE_INDEX["jawOpen"]] = 0.4 + 0.2 * np.sin(9 * times) + 0.15 * np.sin(23 * times)
    return codes


@pytest.mark.parametrize("late", [-0.12, 0.0, 0.08])
def test_lips_find_the_delay(late: float) -> None:
    generated, tracked = _mouth(400, 93.75, late), _mouth(100, 25.0)
    found = lip_agreement(generated, tracked, generated_rate=93.75, tracked_rate=25.0)
    assert found.offset_ms == pytest.approx(1000 * late, abs=10)
    assert found.best_opening > 0.97 and found.best_jaw > 0.97
    assert (found.opening > 0.9) == (late == 0.0)
    still = np.zeros((400, 61), np.float32)
    assert lip_agreement(still, tracked, generated_rate=93.75, tracked_rate=25).offset_ms == 0
    with pytest.raises(ValueError, match="too short"):
        lip_agreement(generated[:50], tracked, generated_rate=93.75, tracked_rate=25.0)


def _faces(frames: int = 40) -> np.ndarray:
    """The mean face, 100 pixels between the eyes, y down."""
    mean = FaceRig.load().mean * np.array([100, -100, -100]) + 250
    return np.repeat(mean[None], frames, axis=0).astype(np.float32)


def test_expression_features_do_not_see_size_or_place() -> None:
    still = expression_features(_faces())
    assert still.shape == (40, 6)
    np.testing.assert_allclose(expression_features(2 * _faces() + 30), still, atol=1e-3)
    open_mouth = _faces()
    open_mouth[:, 14, 1] += 10  # a tenth of the eye distance, times ten
    change = expression_features(open_mouth) - still
    assert change[:, 0] == pytest.approx(1.0, abs=1e-3)
    assert np.abs(change[:, 1:]).max() < 1e-4


def test_pose_features_are_about_the_clips_own_median() -> None:
    faces = _faces()
    assert np.abs(pose_features(faces + 50)).max() < 1e-4
    middle = faces[0].mean(axis=0)
    for frame, degrees in ((0, 10.0), (1, -20.0)):
        a = np.radians(degrees)
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        faces[frame] = (faces[frame] - middle) @ turn.T + middle
    found = pose_features(faces)
    assert found[0, 2] == pytest.approx(1.0, abs=0.02)
    assert found[1, 2] == pytest.approx(-2.0, abs=0.02)


def test_sharpness_is_compared_at_one_size() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (500, 500)).astype(np.uint8)
    points = _faces(1)[0]
    blurred = np.repeat(np.repeat(picture[::4, ::4], 4, axis=0), 4, axis=1)
    assert face_sharpness(blurred, points) < 0.5 * face_sharpness(picture, points)
    assert face_sharpness(picture, points + 2000) == 0.0


def _clip(name: str, mean: float, spread: float, seed: int) -> ClipFeatures:
    rng = np.random.default_rng(seed)
    return ClipFeatures(
        name=name,
        expression=(mean + 0.1 * rng.normal(size=(200, 6))).astype(np.float32),
        pose=(spread * rng.normal(size=(200, 5))).astype(np.float32),
        sharpness=2.0 + mean,
        voice=np.eye(2, 3)[seed % 2].astype(np.float32),
        audio=None,
    )


def test_styles_are_told_apart() -> None:
    calm, happy = _clip("calm", 0.0, 0.2, 0), _clip("happy", 1.0, 0.6, 2)
    good = [(calm, _clip("a", 0.1, 0.2, 4)), (happy, _clip("b", 0.9, 0.6, 6))]
    found = contrast(good)
    assert found["own_is_nearest"] == {"expression": 2, "pose": 2}
    assert found["sense"]["calm - happy"] > 0.99
    swapped = contrast([(calm, good[1][1]), (happy, good[0][1])])
    assert swapped["own_is_nearest"] == {"expression": 0, "pose": 0}
    assert swapped["sense"]["calm - happy"] < -0.99
    row = compare(calm, happy)
    assert row["expression_distance"] == pytest.approx(6.0, rel=0.05)
    assert row["sharpness"] == pytest.approx(1.5)
    assert row["similarity"] == 1.0
    assert "happy" in table({"clips": [row], "contrast": found})


def test_cosine() -> None:
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(0.5**0.5)
    assert cosine(np.zeros(2), np.ones(2)) == 0.0


def test_loudness_is_taken_from_the_other_sound() -> None:
    loud, quiet = np.full(100, 0.5, np.float32), np.full(50, -0.01, np.float32)
    np.testing.assert_allclose(at_level(loud, quiet), 0.01, rtol=1e-5)
    assert not at_level(np.zeros(10, np.float32), loud).any()
