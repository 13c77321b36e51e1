"""How English words are said: dictionary, endings, neighbours, the letter-to-sound network."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from omnitalk_cli.errors import SetupError
from omnitalk_cli.text import heteronyms, pronunciation
from omnitalk_cli.text.phones import ARPABET, MARKS
from omnitalk_cli.text.pronunciation import (
    LETTERS,
    LetterToSound,
    LetterToSoundConfig,
    pronounce,
    read_word,
)
from omnitalk_cli.training.pronunciation import (
    Lesson,
    Network,
    PronunciationTraining,
    edit_distance,
    lessons,
    save,
    score,
    train,
)

_TINY = LetterToSoundConfig(embedding=8, width=16, layers=2)


@pytest.fixture(scope="module")
def split() -> tuple[list[Lesson], list[Lesson]]:
    return lessons()


def _said(text: str) -> list[str]:
    return [" ".join(word.phones) for word in pronounce(text)]


def test_words_and_marks_of_a_sentence() -> None:
    spoken = pronounce("hello, world! it works?!")
    assert [word.mark for word in spoken] == [",", "!", "", "?"]
    assert spoken[0].phones == ("HH", "AH", "L", "OW")
    assert pronounce("") == []


@pytest.mark.parametrize(
    ("text", "index", "phones"),
    [
        ("the apple", 0, "DH IY"),
        ("the pear", 0, "DH AH"),
        ("the hour", 0, "DH IY"),
        ("the university", 0, "DH AH"),
        ("a cat", 0, "AH"),
        ("vitamin a", 1, "EY"),
        ("go to eat", 1, "T UW"),
        ("go to bed", 1, "T AH"),
        ("where to?", 1, "T UW"),
        ("i will read it", 2, "R IY D"),
        ("i have read it", 2, "R EH D"),
        ("she read it", 1, "R EH D"),
        ("last year i read it", 3, "R EH D"),
        ("lead the way", 0, "L IY D"),
        ("a lead pipe", 1, "L EH D"),
        ("they live here", 1, "L IH V"),
        ("a live show", 1, "L AY V"),
        ("how to use it", 2, "Y UW Z"),
        ("the use of it", 1, "Y UW S"),
        ("we used to sing", 1, "Y UW S T"),
        ("it is used to sing", 2, "Y UW Z D"),
        ("he set a record", 3, "R EH K ER D"),
        ("please record it", 1, "R IH K AO R D"),
        ("they present it", 1, "P R IH Z EH N T"),
        ("the present", 1, "P R EH Z AH N T"),
        ("close the door", 0, "K L OW Z"),
        ("it is close", 2, "K L OW S"),
        ("the wind blows", 1, "W IH N D"),
        ("their lives", 1, "L AY V Z"),
        ("she lives here", 1, "L IH V Z"),
    ],
)
def test_words_by_their_neighbours(text: str, index: int, phones: str) -> None:
    assert _said(text)[index] == phones


def test_a_pause_parts_neighbours() -> None:
    assert _said("i want the, apple")[2] == "DH AH"
    assert _said("when we will, use matters")[3] == _said("use matters")[0]


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("blogger's", "B L AO G ER Z"),
        ("kiss's", "K IH S IH Z"),
        ("googled", "G UW G AH L D"),
        ("texted", "T EH K S T IH D"),
        ("vlogs", None),
        ("unhelpfully", "AH N HH EH L P F AH L IY"),
        ("smartphone", "S M AA R T F OW N"),
        ("twenty-four", "T W EH N T IY F AO R"),
        ("t-shirt", "T IY SH ER T"),
        ("xkcd", "EH K S K EY S IY D IY"),
        ("café", "K AH F EY"),
        ("naïve", "N AA IY V"),
        ("yesss", "Y EH S"),
        ("livestreaming", "L AY V S T R IY M IH NG"),
        ("taking's", "T EY K IH NG Z"),
        ("they'dn't", None),
        ("sooo", "S OW"),
        ("hmm", "HH M"),
        ("aitch", "EY CH"),
    ],
)
def test_words_that_follow_rules(word: str, phones: str | None) -> None:
    found = " ".join(read_word(word))
    assert found == phones if phones else found


def test_every_item_is_one_word_of_known_phones() -> None:
    rng = np.random.default_rng(3)
    letters = LETTERS + "éüñßø-"
    words = ["".join(rng.choice(list(letters), rng.integers(1, 14))) for _ in range(200)]
    words += ["a", "'", "-", "b", "zzz", "'s", "y'all", "rock-'n'-roll", "x-", "ñ"]
    marks = rng.choice(["", *MARKS], len(words))
    text = " ".join(word + mark for word, mark in zip(words, marks, strict=True))
    spoken = pronounce(text)
    assert len(spoken) == len(words)
    for word, mark, said in zip(words, marks, spoken, strict=True):
        assert set(said.phones) <= set(ARPABET), word
        assert said.mark == mark
        assert bool(said.phones) == any(c.isalpha() for c in word), word


def test_overrides_and_tables_hold_known_phones() -> None:
    for table in (
        pronunciation._OVERRIDES, pronunciation._NAMES, heteronyms._VERBS,
        heteronyms._NOUNS, pronunciation._ENDINGS, pronunciation._PREFIXES,
    ):  # fmt: skip
        for word, phones in table.items():
            assert phones and set(phones) <= set(ARPABET), word
    assert heteronyms._VERBS.keys() == heteronyms._NOUNS.keys()


def test_the_embedded_network_says_unknown_words(
    split: tuple[list[Lesson], list[Lesson]],
) -> None:
    network = pronunciation._network()
    assert edit_distance(network.read("nation"), ("N", "EY", "SH", "AH", "N")) <= 1
    assert score(network, split[1][::50]).phone_error < 0.15


def test_numpy_and_torch_agree(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(_TINY).eval()
    path = tmp_path / "sounds.safetensors"
    save(network, path)
    reader = LetterToSound.load(path)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in reader.tensors.items()})
    for word in ("omnitalk", "a", "it's"):
        ids = torch.tensor([[LETTERS.index(c) for c in word]])
        best = network(ids)[0].argmax(-1).tolist()
        kept = [b for a, b in zip([0, *best], best, strict=False) if b and a != b]
        assert reader.read(word) == tuple(ARPABET[b - 1] for b in kept)


def test_a_few_words_can_be_learnt(tmp_path: Path) -> None:
    items = [
        Lesson("cat", (("K", "AE", "T"),)),
        Lesson("dog", (("D", "AO", "G"),)),
        Lesson("fish", (("F", "IH", "SH"),)),
    ]
    config = PronunciationTraining(
        model=_TINY, steps=150, batch=2, learning_rate=2e-2, warmup_steps=5, dropout=0.0
    )
    path = tmp_path / "sounds.safetensors"
    save(train(config, items), path)
    reader = LetterToSound.load(path)
    result = score(reader, items)
    assert (result.phone_error, result.word_accuracy, result.words) == (0.0, 1.0, 3)
    # Trained further, it begins with what it knew.
    gently = replace(config, steps=1, learning_rate=1e-6)
    save(train(gently, items, start=reader), path)
    assert score(LetterToSound.load(path), items).phone_error == 0.0


def test_lessons_are_split_by_spelling(split: tuple[list[Lesson], list[Lesson]]) -> None:
    trained, held_out = split
    assert not {item.word for item in trained} & {item.word for item in held_out}
    assert 0.04 < len(held_out) / len(trained) < 0.06
    assert "smith's" not in {item.word for item in trained}


def test_edit_distance() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == 3
    assert edit_distance("abc", "abc") == 0


def test_missing_parts_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    with pytest.raises(SetupError, match="letter-to-sound"):
        LetterToSound.load(bad)
    monkeypatch.setattr(pronunciation, "embedded_folders", lambda: (tmp_path,))
    pronunciation._network.cache_clear()
    with pytest.raises(SetupError, match="weights"):
        pronunciation._network()
    pronunciation._dictionary.cache_clear()
    monkeypatch.setattr(pronunciation, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="pocketsphinx"):
        pronunciation._dictionary()
    pronunciation._network.cache_clear()


def test_the_five_hundred_commonest_words_are_in_the_dictionary() -> None:
    wordfreq = pytest.importorskip("wordfreq")
    words = [w for w in wordfreq.top_n_list("en", 560) if re.fullmatch("[a-z']+", w)][:500]
    entries = pronunciation.dictionary_entries()
    guessed = [
        word for word in words
        if word not in entries and word not in pronunciation._OVERRIDES and len(word) > 1
    ]  # fmt: skip
    assert guessed == []
