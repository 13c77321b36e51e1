"""Grouping timed phones of the corpus into spoken words."""

from __future__ import annotations

import numpy as np
import pytest

from omnitalk_cli.text.phones import SpokenWord
from omnitalk_cli.training.phone_words import group, mark_of
from omnitalk_cli.training.shards import CorpusItem


def utterance(
    text: str,
    words: list[tuple[float, float]],
    phones: list[tuple[str, float, float]] | None,
    alphabet: str = "arpabet",
) -> CorpusItem:
    return CorpusItem(
        mel=np.zeros((100, 100)), text=text, words=words, speaker="a", source="human:a",
        phones=phones, alphabet=alphabet,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("item", "mark"), [("so,", ","), ("so", ""), ("'so.'", "."), ("boys'", ""), ("?", "?")]
)
def test_the_mark_is_the_last_one_behind_the_word(item: str, mark: str) -> None:
    assert mark_of(item) == mark


def test_phones_go_to_the_word_of_their_middle_and_silence_is_dropped() -> None:
    found = group(
        utterance(
            "he, is.",
            [(0.1, 0.3), (0.5, 0.7)],
            [("SIL", 0.0, 0.1), ("HH", 0.1, 0.2), ("IY", 0.2, 0.32), ("SIL", 0.32, 0.5),
             ("IH", 0.5, 0.6), ("Z", 0.6, 0.7)],
        )
    )  # fmt: skip
    assert found == (
        [SpokenWord(("HH", "IY"), ","), SpokenWord(("IH", "Z"), ".")],
        [[(0.1, 0.2), (0.2, 0.32)], [(0.5, 0.6), (0.6, 0.7)]],
    )


def test_an_espeak_mnemonic_of_two_phones_shares_its_time() -> None:
    found = group(
        utterance("her", [(0.0, 0.4)], [("h", 0.0, 0.1), ("'i@3", 0.1, 0.4)], alphabet="espeak")
    )
    assert found is not None
    assert found[0] == [SpokenWord(("HH", "IY", "ER"))]
    assert found[1][0] == [(0.0, 0.1), (0.1, pytest.approx(0.25)), (pytest.approx(0.25), 0.4)]


def test_a_silent_item_gives_its_mark_to_the_word_before() -> None:
    found = group(utterance("me to.", [(0.0, 0.2), (0.2, 0.2)], [("M", 0, 0.1), ("IY", 0.1, 0.2)]))
    assert found is not None and found[0] == [SpokenWord(("M", "IY"), ".")]


def test_a_closure_is_closed_and_a_pause_parts_the_word() -> None:
    phones = [("AA", 0.0, 0.1), ("SIL", 0.1, 0.13), ("P", 0.13, 0.2), ("SIL", 0.2, 0.4),
              ("T", 0.4, 0.5)]  # fmt: skip
    found = group(utterance("op-t", [(0.0, 0.5)], phones))
    assert found is not None
    assert found[0] == [SpokenWord(("AA", "P")), SpokenWord(("T",))]
    assert found[1] == [[(0.0, 0.13), (0.13, 0.2)], [(0.4, 0.5)]]


def test_times_never_overlap() -> None:
    found = group(utterance("at", [(0.0, 0.3)], [("AE", 0.0, 0.2), ("T", 0.15, 0.3)]))
    assert found is not None and found[1] == [[(0.0, 0.2), (0.2, 0.3)]]


def test_nothing_without_phones_or_with_an_unknown_one() -> None:
    assert group(utterance("at", [(0.0, 0.3)], None)) is None
    assert group(utterance("at", [(0.0, 0.3)], [("QQ", 0.0, 0.3)])) is None
    assert group(utterance("at", [(0.0, 0.3)], [("SIL", 0.0, 0.3)])) is None
