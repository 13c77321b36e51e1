"""F5-TTS' tokens: what its own tokeniser gives (tests/parity compares 200 sentences), readings set
by hand, the table of tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitalk_cli.errors import InputError
from omnitalk_cli.text.f5_tokens import F5Vocabulary, f5_tokens, script_tokens, spoken_bytes


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hi, you.", [*"Hi", ",", " ", *"you", "."]),
        ("a;b “c” d’s", [*"a,b ", '"', "c", '"', " ", *"d's"]),
        ("你好", [" ", "ni2", " ", "hao3"]),  # two third tones: the first rises
        ("银行行走", [" ", "yin2", " ", "hang2", " ", "xing2", " ", "zou3"]),
        ("好的GPU", [" ", "hao3", " ", "de", " ", *"GPU"]),
        ("é", ["é"]),
        ("", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert f5_tokens(text) == tokens


def test_a_reading_can_be_set() -> None:
    assert script_tokens("{行|hang2}走") == [" ", "hang2", *f5_tokens("走")]
    assert script_tokens("x{绿|lü4}{了|le5}") == ["x", " ", "lv4", " ", "le"]
    assert spoken_bytes("{行|hang2}走 a") == len("行走 a".encode())


@given(st.text(max_size=60))
def test_any_text_has_tokens_that_can_be_encoded(text: str) -> None:
    vocabulary = F5Vocabulary((" ", "a", "b", "ni3"))
    ids = vocabulary.encode(f5_tokens(text))
    assert all(1 <= i < len(vocabulary) for i in ids)
    assert bool(ids) == bool(text)


def test_the_table_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text(" \na\n\u2028\nb\n", encoding="utf-8")
    vocabulary = F5Vocabulary.read(path)
    assert vocabulary.tokens == (" ", "a", "\u2028", "b") and len(vocabulary) == 5
    assert vocabulary.encode(["b", "unknown", " "]) == [4, 1, 1]
    path.write_bytes(b" \r\na\r\nb\r\n")
    assert F5Vocabulary.read(path).tokens == (" ", "a", "b")


@pytest.mark.parametrize("content", [b"a\nb\n", b"\xff\xfe\n", b""])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"vocab\.txt"):
        F5Vocabulary.read(path)
    with pytest.raises(InputError, match="no such file"):
        F5Vocabulary.read(tmp_path / "none.txt")
