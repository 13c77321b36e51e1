"""Durations of phones: what is learnt from speech whose durations follow known rules."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from omnitalk_cli.evaluation import durations as report
from omnitalk_cli.speech.duration import DurationModel, Utterance, feature_names
from omnitalk_cli.text.phones import ARPABET, EXTRA, MARKS, SpokenWord

VOWELS = ("AA", "IH", "OW")
CONSONANTS = ("T", "M", "S")
PAUSE = 0.3


def sentence(rng: np.random.Generator, count: int) -> list[SpokenWord]:
    words = []
    for number in range(count):
        phones = [str(rng.choice(CONSONANTS)), str(rng.choice(VOWELS)), str(rng.choice(CONSONANTS))]
        mark = "." if number + 1 == count else "," if rng.random() < 0.2 else ""
        words.append(SpokenWord(tuple(phones[: 2 + int(rng.integers(2))]), mark))
    return words


def say(words: list[SpokenWord], pace: float) -> list[list[tuple[float, float]]]:
    """Vowels last twice as long as consonants; the last word of the utterance is drawn out."""
    now, times = 0.1, []
    for number, word in enumerate(words):
        spans = []
        for phone in word.phones:
            length = (0.12 if phone in VOWELS else 0.06) * pace
            length *= 1.5 if number + 1 == len(words) else 1.0
            spans.append((now, now + length))
            now += length
        times.append(spans)
        now += PAUSE * pace if word.mark == "," else 0.0
    return times


def speech(
    speakers: dict[str, float], each: int = 60, seed: int = 0, longest: int = 10
) -> list[Utterance]:
    rng = np.random.default_rng(seed)
    found: list[Utterance] = []
    for name, pace in speakers.items():
        for _ in range(each):
            words = sentence(rng, int(rng.integers(4, longest)))
            found.append((words, say(words, pace), name))
    return found


@pytest.fixture(scope="module")
def model() -> DurationModel:
    return DurationModel.fit(speech({"slow": 1.25, "quick": 0.8}))


def test_durations_and_pauses_are_learnt(model: DurationModel) -> None:
    words = sentence(np.random.default_rng(9), 8)
    truth, mine = say(words, 1.0), model.phone_times(words, start=0.1)
    assert [len(spans) for spans in mine] == [len(word.phones) for word in words]
    errors = [
        abs((b - a) / (d - c) - 1)
        for said, true in zip(mine, truth, strict=True)
        for (a, b), (c, d) in zip(said, true, strict=True)
    ]
    assert np.mean(errors) < 0.06
    assert mine[-1][-1][1] == pytest.approx(truth[-1][-1][1], rel=0.05)


def test_the_pace_of_a_speaker_is_found_again(model: DurationModel) -> None:
    words = sentence(np.random.default_rng(4), 9)
    times = say(words, 1.25)
    assert model.pace(words, times[-1][-1][1] - times[0][0][0]) == pytest.approx(1.25, rel=0.05)


def test_pace_is_held_and_is_one_without_words(model: DurationModel) -> None:
    words = sentence(np.random.default_rng(4), 5)
    assert model.pace(words, 100.0) == 1.7
    assert model.pace(words, 0.01) == 0.6
    assert model.pace([], 1.0) == 1.0
    assert model.spoken_seconds([]) == 0.0 and model.phone_times([]) == []


def test_times_are_contiguous_and_follow_the_pace(model: DurationModel) -> None:
    words = sentence(np.random.default_rng(5), 7)
    normal, slow = (
        model.phone_times(words, start=0.0),
        model.phone_times(words, pace=2.0, start=0.0),
    )
    for spans in normal:
        assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert all(a[-1][1] <= b[0][0] for a, b in zip(normal, normal[1:], strict=False))
    assert slow[-1][-1][1] == pytest.approx(2 * normal[-1][-1][1])
    assert normal[-1][-1][1] == pytest.approx(model.spoken_seconds(words))
    assert model.seconds(words, pace=2.0) > 2 * model.spoken_seconds(words)


def test_a_mark_makes_a_pause(model: DurationModel) -> None:
    plain = [SpokenWord(("T", "AA"))] * 2
    for mark in MARKS:
        marked = [SpokenWord(("T", "AA"), mark), plain[1]]
        assert model.pause_seconds(marked)[0] > 0.1 > model.pause_seconds(plain)[0]
    assert model.pause_seconds([SpokenWord(("T", "AA"), ".")]) == [0.0]


def test_a_sentence_end_that_was_read_over_is_no_example_of_a_pause() -> None:
    words = [SpokenWord(("T", "AA"), "."), SpokenWord(("M", "IH"), ".")]
    run_on = [[(0.0, 0.1), (0.1, 0.2)], [(0.2, 0.3), (0.3, 0.4)]]
    assert DurationModel.fit([(words, run_on, "a")] * 200).pause_seconds(words)[0] > 0.2


def test_every_phone_is_known_and_unseen_ones_last_a_while(model: DurationModel) -> None:
    words = [SpokenWord((phone,)) for phone in (*ARPABET, *EXTRA)]
    assert len(feature_names(words)) == len(words)
    assert all(0.02 <= word[0] <= 0.6 for word in model.phone_seconds(words))


def test_it_survives_json(model: DurationModel) -> None:
    words = sentence(np.random.default_rng(5), 7)
    again = DurationModel(**json.loads(json.dumps(asdict(model))))
    assert again.phone_times(words) == model.phone_times(words)


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no phones"):
        DurationModel.fit([])
    with pytest.raises(ValueError):
        DurationModel.fit([([SpokenWord(("T", "AA"))], [[(0.0, 0.1)]], "a")])


def test_the_report_ranks_phones_before_characters() -> None:
    def as_timed(rows: list[Utterance]) -> list[report.Timed]:
        return [
            report.Timed(
                text=" ".join("x" * 4 + word.mark for word in words),
                words=list(words), times=[list(spans) for spans in times],
                speaker=who, source="human:x",
            )
            for words, times, who in rows
        ]  # fmt: skip

    scores = {
        row.method: row
        for row in report.compare(
            as_timed(speech({"a": 1.2, "b": 0.9}, each=25)),
            as_timed(speech({"c": 1.0}, each=15, seed=5, longest=26)),
        )
    }
    assert scores["phones of all"].phone_ms < 0.5 * scores["characters"].phone_ms
    assert scores["phones of all"].total_percent < scores["characters"].total_percent
