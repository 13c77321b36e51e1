"""From times of phones to what each frame speaks."""

import numpy as np
import pytest

from omnitalk_cli.text.alignment import Alignment, align
from omnitalk_cli.text.phones import ARPABET, EXTRA, SpokenWord, from_espeak
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.types import MEL_RATE

VOCABULARY = Vocabulary.phones()
WORDS = [SpokenWord(("HH", "AY"), ","), SpokenWord(("Y", "UW"), "?")]
TIMES = [[(0.1, 0.2), (0.2, 0.4)], [(0.6, 0.7), (0.7, 0.9)]]


def tokens(alignment: Alignment) -> list[str]:
    """The token of every frame."""
    return [VOCABULARY.tokens[alignment.ids[i] - 1] for i in alignment.index]


def test_every_frame_speaks_its_phone() -> None:
    made = align(WORDS, TIMES, 100, VOCABULARY)
    said = tokens(made)

    def at(seconds: float) -> str:
        return said[round(seconds * MEL_RATE)]

    assert [at(t) for t in (0.05, 0.15, 0.3, 0.5, 0.65, 0.8, 1.0)] == [
        " ", "HH", "AY", ",", "Y", "UW", "?",
    ]  # fmt: skip
    assert np.abs(made.phase).max() <= 0.5
    word = made.phase[round(0.1 * MEL_RATE) + 1 : round(0.4 * MEL_RATE), 1]
    assert (np.diff(word) > 0).all()


def test_marks_without_time_are_still_read() -> None:
    made = align(WORDS, [TIMES[0], [(0.4, 0.5), (0.5, 0.6)]], 60, VOCABULARY)
    assert "," in [VOCABULARY.tokens[i - 1] for i in made.ids]
    assert "," not in tokens(made)


def test_cut_and_joined_parts_say_the_same() -> None:
    whole = align(WORDS, TIMES, 100, VOCABULARY)
    joined = Alignment.join([whole.crop(0, 40), whole.crop(40, 100)])
    assert tokens(joined) == tokens(whole)
    np.testing.assert_array_equal(joined.phase, whole.phase)


def test_words_without_phones_and_texts_without_words() -> None:
    silent = align([SpokenWord(()), *WORDS], [[], *TIMES], 100, VOCABULARY)
    assert tokens(silent) == tokens(align(WORDS, TIMES, 100, VOCABULARY))
    assert (align([], [], 10, VOCABULARY).index == -1).all()
    with pytest.raises(ValueError, match="its time"):
        align(WORDS, [TIMES[0], TIMES[1][:1]], 100, VOCABULARY)


def test_the_vocabulary_holds_every_phone_once() -> None:
    assert set(ARPABET) | set(EXTRA) <= set(VOCABULARY.tokens)
    assert len(VOCABULARY) == 52


@pytest.mark.parametrize(
    ("mnemonic", "phones"),
    [("'aI", ("AY",)), ("_:", ("SIL",)), (",@L", ("AH", "L")), ("tS", ("CH",))],
)
def test_espeak_mnemonics_are_read(mnemonic: str, phones: tuple[str, ...]) -> None:
    assert from_espeak(mnemonic) == phones
    with pytest.raises(KeyError):
        from_espeak("no such thing")
