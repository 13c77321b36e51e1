"""Scripts: sentences, pieces, pauses, paragraphs, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitalk_cli.errors import InputError
from omnitalk_cli.pipeline.script import read_script
from omnitalk_cli.text.split import MAX_CHARACTERS, MAX_WORDS, pieces, sentences
from omnitalk_cli.types import Segment


def _spoken(text: str) -> list[tuple[str, float]]:
    return [(s.text, s.pause_after) for s in read_script(text).segments]


@pytest.mark.parametrize(
    "expected",
    [
        ["Hello there.", "How are you?", "Fine!"],
        ["Dr. Smith met Mr. J. K. Lee at 5 p.m. sharp.", "Then he left."],
        ["I live in the U.S. Army camp.", "He left the U.S.", "He was sad."],
        ['"Really?" he said.', "Yes."],
        ["It costs 3.50 today.", "See Fig. 3 and No. 7."],
        ["Apples, pears, etc. are fruit.", "Well... maybe."],
        ["1. First of all, go.", "2. Then stay."],
        ["So did I.", "And you?"],
        ["On Dec. 5 it took 2.5 s vs. 3 min here.", "No.", "I ate a fig.", "Yes."],
    ],
)
def test_sentences(expected: list[str]) -> None:
    assert sentences(" ".join(expected)) == expected


def test_chinese_sentences() -> None:
    assert sentences("你好。今天好吗？好！") == ["你好。", "今天好吗？", "好！"]


def test_pieces_prefer_marks() -> None:
    text = (
        "when the long winter was over at last, the two old friends walked down to the river, "
        "because the boats were back and the water was warm again"
    )
    found = pieces(text)
    assert found[0] == "when the long winter was over at last,"
    assert " ".join(found) == text and all(len(p.split()) <= MAX_WORDS for p in found)
    assert pieces("short.") == ["short."] and pieces("  ") == []


@settings(max_examples=120)
@given(st.text(alphabet="abcde fgh ij, kl. mno? 你好行。x-'{|}", max_size=400), st.integers(1, 12))
def test_pieces_lose_nothing(text: str, max_words: int) -> None:
    found = pieces(text, max_words=max_words, max_characters=30)
    assert "".join("".join(found).split()) == "".join(text.split())
    if "{" not in text:
        assert all(len(piece) <= 30 and len(piece.split()) <= max_words for piece in found)
    assert all(piece.strip() == piece and piece for piece in found)


@settings(max_examples=120)
@given(st.text(max_size=200))
def test_sentences_lose_nothing(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@settings(max_examples=120)
@given(st.lists(st.text(alphabet="abcdefgo", min_size=2, max_size=12), min_size=1, max_size=60),
       st.lists(st.sampled_from([" ", ". ", ", ", "\n", "\n\n", " [pause 1] ", "! "]),
                min_size=60, max_size=60))  # fmt: skip
def test_scripts_keep_every_word(words: list[str], gaps: list[str]) -> None:
    text = "".join(word + gap for word, gap in zip(words, gaps, strict=False))
    script = read_script(text.capitalize())
    said = " ".join(s.text for s in script.segments)
    assert "".join(c for c in said if c.isalpha()) == "".join(words)
    for segment in script.segments:
        assert len(segment.text.split()) <= MAX_WORDS and len(segment.text) <= MAX_CHARACTERS
        assert 0 <= segment.pause_after <= 60


@settings(max_examples=120)
@given(st.text(max_size=120))
def test_any_script_is_read_or_refused(text: str) -> None:
    try:
        script = read_script(text)
    except InputError as error:
        assert str(error).startswith("script: ")
        return
    assert any(segment.text for segment in script.segments)


def test_pauses_and_paragraphs() -> None:
    text = "Hello. [pause 0.8] How are you?\nFine.\n\nNext [pause: 500ms] part. [pause 2]\n\nEnd"
    assert _spoken(text) == [
        ("hello.", 0.8),
        ("how are you?", 0.25),
        ("fine.", 0.6),
        ("next.", 0.5),
        ("part.", 2.0),
        ("end.", 0.25),
    ]
    assert [s.paragraph for s in read_script(text).segments] == [0, 0, 0, 1, 1, 2]
    assert _spoken("[pause 1][pause 0.5] Hi") == [("", 1.5), ("hi.", 0.25)]
    assert _spoken("Hi [pause 0] you [pause]") == [("hi.", 0.0), ("you.", 0.5)]
    for bad in ("[pause long] a", "[pause 99] a", "[pause -1] a"):
        with pytest.raises(InputError, match="pause"):
            read_script(bad)


def test_lists_and_headings() -> None:
    assert [t for t, _ in _spoken("# My list\n- one thing\n- two\n  things\n")] == [
        "my list.", "one thing.", "two things.",
    ]  # fmt: skip


def test_one_letter() -> None:
    assert read_script("a").segments == (Segment(text="a.", pause_after=0.25),)
    assert _spoken("b")[0][0] == "bee."


def test_language() -> None:
    assert read_script("hello").language == "en"
    script = read_script("{行|hang2}长说：Hello。再见")
    assert script.language == "zh"
    assert [s.text for s in script.segments] == ["{行|hang2}长说: hello.", "再见."]
    with pytest.raises(InputError, match="--lang zh"):
        read_script("hello 你好", language="en")
    with pytest.raises(InputError, match="Cyrillic"):
        read_script("привет")
    with pytest.raises(InputError, match="one syllable"):
        read_script("{银行|hang2}你好")


def test_files(tmp_path: Path) -> None:
    plain, marked = tmp_path / "p.txt", tmp_path / "m.txt"
    plain.write_bytes("Café.\r\n\r\nYes.".encode())
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    assert read_script(plain) == read_script(marked)
    assert [s.text for s in read_script(plain).segments] == ["café.", "yes."]
    assert len(read_script(plain).source_sha256) == 64
    bad = {
        "latin.txt": "Café".encode("latin-1"),
        "utf16.txt": "hello".encode("utf-16"),
        "binary.txt": b"hello\x00\x01",
        "empty.txt": b"",
        "blank.txt": b"\n \n",
        "marks.txt": b"?!...",
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            read_script(tmp_path / name)
    for path in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(InputError):
            read_script(path)
