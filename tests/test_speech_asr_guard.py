"""The guard against invented words, on segments made up for it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitalk_cli.speech.asr_guard import HeardSegment, doubts, guard
from omnitalk_cli.speech.asr_voice import Activity, activity, overlap, spans
from omnitalk_cli.speech.asr_words import clean_word, joined, letters, tidy
from omnitalk_cli.types import Word

TALK = Activity(seconds=10.0, voiced=((1.0, 9.0),), sounding=((0.9, 9.1),))
SILENCE = replace(TALK, voiced=(), sounding=())
NOISE = replace(TALK, voiced=(), sounding=((0.0, 10.0),))
SONG = replace(NOISE, voiced=((0.0, 0.3), (2.0, 2.25), (8.0, 8.4)))


def said(text: str, start: float = 2.0, end: float | None = None, **facts: float) -> HeardSegment:
    """A segment whose words share its time; at a usual pace unless ``end`` is given."""
    parts = [text] if " " not in text else [f" {part}" for part in text.split()]
    end = start + letters(text) / 15 if end is None else end
    edges = np.linspace(start, end, len(parts) + 1)
    words = tuple(
        Word(text=part, start=float(a), end=float(b))
        for part, (a, b) in zip(parts, pairwise(edges), strict=True)
    )
    return HeardSegment(words=words, **{"avg_logprob": -0.25, "no_speech_prob": 0.05, **facts})


SENTENCE = "Dogs are sitting by the door."


def test_a_sentence_in_a_voice_stays_as_it_is() -> None:
    segment = said(SENTENCE)
    kept = guard([segment], TALK)
    assert [w.text for w in kept.words] == [w.text for w in segment.words] and not kept.dropped
    assert joined(kept.words) == SENTENCE
    assert all(
        abs(a.start - b.start) < 0.002 for a, b in zip(kept.words, segment.words, strict=True)
    )


@pytest.mark.parametrize(
    ("segment", "heard", "reason"),
    [
        (said(SENTENCE), SILENCE, "nothing is heard"),
        (said(SENTENCE), NOISE, "no voice is heard"),
        (said("Thank you for watching!"), SONG, "models invent"),
        (said("I love you", avg_logprob=-0.6), SONG, "only a few words"),
        (said("Thank you.", 9.3, 9.6), TALK, "no voice is heard"),
        (said(SENTENCE, avg_logprob=-1.8), TALK, "guessed"),
        (said(SENTENCE, avg_logprob=-1.2, no_speech_prob=0.95), TALK, "no speech"),
        (said("Please subscribe!", no_speech_prob=0.7), TALK, "models invent"),
        (said("you " * 12), TALK, "loop"),
        (said("and then we go " * 5, compression_ratio=3.1), TALK, "repeats itself"),
        (said(SENTENCE, 2.0, 2.4), TALK, "nobody speaks so fast"),
        (said("请不吝点赞 订阅 转发 打赏支持", no_speech_prob=0.7), TALK, "models invent"),
        (said("[Music]"), TALK, "remark"),
        (said("(upbeat music playing)"), TALK, "remark"),
        (said("hm", 2.0, 8.0, avg_logprob=-1.1, no_speech_prob=0.7), TALK, "very slow"),
    ],
)  # fmt: skip
def test_invented_text_goes_with_a_reason(
    segment: HeardSegment, heard: Activity, reason: str
) -> None:
    result = guard([segment], heard)
    assert result.segments == () and result.words == ()
    assert [dropped.text for dropped in result.dropped] == [segment.text]
    assert reason in result.dropped[0].reason


@pytest.mark.parametrize(
    ("segment", "heard"),
    [
        (said("Thank you."), TALK),  # people say it
        (said("No, no, no, no."), TALK),
        (said("Very, very, very good, and a long way to go from here."), TALK),
        (said(SENTENCE, no_speech_prob=0.7), TALK),
        (said(SENTENCE, avg_logprob=-1.1), TALK),
        (said("Eighty-two percent, eighteen", 2.0, 3.0), TALK),  # hurried
        (said("门口坐着几只狗", 2.0, 3.6), TALK),
    ],
)
def test_what_people_say_stays(segment: HeardSegment, heard: Activity) -> None:
    result = guard([segment], heard)
    assert result.dropped == () and joined(result.words) == segment.text


def test_a_good_segment_does_not_save_the_invented_one_behind_it() -> None:
    good, bad = said(SENTENCE, 2.0, 4.0), said("Thanks for watching.", 9.3, 9.9)
    result = guard([good, bad], TALK)
    assert joined(result.words) == SENTENCE
    assert [dropped.text for dropped in result.dropped] == ["Thanks for watching."]


def test_words_on_silence_go_from_a_segment_that_stays() -> None:
    words = (
        *said("It is a good day", 6.0, 8.0).words,
        Word(text=" today.", start=9.6, end=9.9),
    )
    result = guard([replace(said("x"), words=words)], TALK)
    assert joined(result.words) == "It is a good day"
    assert [dropped.text for dropped in result.dropped] == ["today."]


def test_the_same_again_is_doubted_more() -> None:
    first, second = said(SENTENCE, 2.0, 4.0), said(SENTENCE, 5.0, 7.0)
    assert not doubts(first, TALK)
    assert [reason for _, reason in doubts(second, TALK, first)] == ["the same again"]


word_texts = st.sampled_from(["", " ", " a", " Hello,", "你", " ♪", " thanks", " [Music]", "。"])
moments = st.floats(-2, 14) | st.sampled_from([float("nan"), float("inf")])
words = st.builds(lambda text, a, b: Word(text=text, start=a, end=b), word_texts, moments, moments)
segments = st.builds(
    HeardSegment,
    words=st.lists(words, max_size=12).map(tuple),
    no_speech_prob=st.just(0.0) | st.floats(0, 1),
    avg_logprob=st.just(0.0) | st.floats(-3, 0),
    compression_ratio=st.just(1.0) | st.floats(0, 5),
)
stretches = st.lists(st.floats(0, 10), max_size=6).map(
    lambda edges: tuple(zip(*[iter(sorted(edges)[: len(edges) // 2 * 2])] * 2, strict=True))
)
activities = st.builds(
    Activity,
    seconds=st.floats(0, 10),
    voiced=stretches,
    sounding=stretches | st.just(((0.0, 10.0),)),
)


def in_order(found: tuple[Word, ...], seconds: float) -> bool:
    edges = [time for word in found for time in (word.start, word.end)]
    rising = all(a <= b for a, b in pairwise(edges))
    return rising and all(0 <= time <= seconds for time in edges)


@given(st.lists(segments, max_size=4), activities)
def test_the_guard_keeps_order_stays_inside_and_is_idempotent(
    heard: list[HeardSegment], where: Activity
) -> None:
    result = guard(heard, where)
    assert in_order(result.words, where.seconds)
    assert all(word.end > word.start and word.text.strip() for word in result.words)
    spoken = iter(clean_word(word.text) for segment in heard for word in segment.words)
    assert all(word.text in spoken for word in result.words)  # a subsequence
    again = guard(result.segments, where)
    assert again.segments == result.segments and not again.dropped


@given(st.lists(words.filter(lambda w: np.isfinite([w.start, w.end]).all())), st.floats(0, 10))
def test_tidy_words_have_length_and_stay_as_they_are(found: list[Word], seconds: float) -> None:
    tidied = tidy(found, seconds)
    assert in_order(tidied, seconds)
    assert len(tidied) in (0, len(found))
    assert [word.text for word in tidied] in ([], [word.text for word in found])
    assert all(word.end - word.start > 0.0005 for word in tidied)
    assert tidy(tidied, seconds) == tidied


def test_good_times_are_not_touched() -> None:
    good = said(SENTENCE, 1.0, 3.0).words
    rounded = tuple(replace(w, start=round(w.start, 3), end=round(w.end, 3)) for w in good)
    assert tidy(rounded, 10.0) == rounded


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (" Hello,", " Hello,"), ("♪", ""), (" ...", ""), ("<|en|>Hi", "Hi"),
        (" a\u200bb\x07", " ab"), ("  wide   gap ", " wide gap"), ("狗。", "狗。"),
        ("", ""), ("Cafe\u0301", "Café"),
    ],
)  # fmt: skip
def test_words_are_cleaned(raw: str, clean: str) -> None:
    assert clean_word(raw) == clean


def test_spans_bridge_short_gaps_and_drop_blips() -> None:
    active = np.array([0, 1, 1, 0, 1, 1, 0, 0, 0, 1, 0, 0], bool)
    assert spans(active, 0.1, 1.2) == ((pytest.approx(0.1), pytest.approx(0.6)), (0.9, 1.0))
    assert spans(active, 0.05, 0.6) == ((pytest.approx(0.05), pytest.approx(0.5)),)
    assert spans(np.array([1, 0, 0, 0, 0], bool), 0.05, 0.25) == ()
    assert spans(np.zeros(0, bool), 0.1, 0.0) == ()


def test_overlap_counts_nothing_twice() -> None:
    parts = ((1.0, 2.0), (2.2, 3.0))
    assert overlap(0.0, 5.0, parts) == pytest.approx(1.8)
    assert overlap(0.0, 5.0, parts, reach=0.5) == pytest.approx(3.0)
    assert overlap(1.5, 2.5, parts) == pytest.approx(0.8)
    assert overlap(4.0, 5.0, parts) == 0.0


def test_silence_noise_and_tones_have_no_voice() -> None:
    rng, time = np.random.default_rng(0), np.arange(32_000) / 16_000
    silence = activity(np.zeros(32_000, np.float32))
    assert silence.seconds == 2.0
    assert not (silence.voiced or silence.sounding)
    for sound in (rng.normal(0, 0.05, 32_000), 0.3 * np.sin(2 * np.pi * 440 * time)):
        found = activity(sound.astype(np.float32))
        assert not found.voiced and found.sounding
    assert activity(np.zeros(1, np.float32)).voiced == ()
