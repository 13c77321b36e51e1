"""The catalogue is read strictly, and what it says of public weights holds together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import weights_samples as samples
from omnitalk_cli.errors import UsageError
from omnitalk_cli.weights.catalog import catalog, entry, read_catalog, size_words
from omnitalk_cli.weights.importers.registry import IMPORTERS, Importer

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> str:
    """A catalogue that is right."""
    monkeypatch.setitem(IMPORTERS, "sample", Importer(function="weights_samples:convert"))
    return samples.toml(samples.new_hub())


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('about = "a voice"', 'about = "a voice"\ncolour = "red"', "voice: unknown colour"),
        ('about = "a voice"\n', "", "about"),
        ("[[profile]]", '[[profiles]]\nname="x"\n[[profile]]', "unknown profiles"),
        ('licence = "NC-1"', 'licence = "GPL"', "voice: licence 'GPL' is not described"),
        ('importer = "sample"', 'importer = "other"', "importer 'other' is unknown"),
        ('repository = "lab/voice"', 'repository = "voice"', "OWNER/NAME"),
        ('repository = "lab/voice"', "", "either repository or url"),
        ('revision = "main"', 'revision = "v1.0"', "moving: revision must be a commit"),
        ('main = "face.task"', 'main = "a/face.task"', "name of a file"),
        ('name = "v1/voice.bin"', 'name = "../voice.bin"', "no path inside"),
        ('name = "v1/vocab.txt"', 'name = "v2/voice.bin"', "same base name"),
        ("size = 700", 'size = "700"', "face: size must be int"),
        ("size = 700", "size = 0", "must be positive"),
        (f'sha256 = "{samples.sha256(samples.FACE)}"', 'sha256 = "12"', "64 hexadecimal digits"),
        (f', sha256 = "{samples.sha256(samples.FACE)}"', "", "need a sha256"),
        ('name = "free"', 'name = "voice"', "more than one entry is called voice"),
        ('name = "free"', 'name = "Free weights"', "small letters"),
        ('members = ["voice", "free"]', 'members = ["tiny"]', "no public entry"),
        ("non_commercial = true", 'non_commercial = "yes"', "must be bool"),
    ],
)
def test_mistakes_are_told(text: str, old: str, new: str, why: str) -> None:
    assert old in text and read_catalog(text)
    with pytest.raises(ValueError, match=re.escape(why)):
        read_catalog(text.replace(old, new, 1))


def test_the_catalogue_of_the_package() -> None:
    for item in catalog().entries:
        assert item.about and item.licence.allows
        if item.source is not None:
            assert item.source.pinned
            assert item.source.importer in IMPORTERS
    voice = catalog().profile("voice").members
    assert voice == ("f5-tts", "vocos", "whisper-base")
    f5 = entry("f5-tts")
    assert f5 is not None and f5.source is not None and f5.licence.non_commercial
    assert [file.base for file in f5.source.files] == ["model_1250000.safetensors", "vocab.txt"]
    assert f5.download == "1.35 GB" and f5.main == "model.safetensors"


def test_embedded_entries_have_their_files() -> None:
    for item in catalog().entries:
        assert not item.embedded or (ROOT / "weights" / item.main).is_file()


def test_the_guide_tells_of_every_entry() -> None:
    guide = (ROOT / "docs" / "weights.md").read_text("utf-8")
    for item in catalog().entries:
        if item.source is not None:
            row = next(line for line in guide.splitlines() if line.startswith(f"| `{item.name}`"))
            assert item.source.page in row or item.source.repository is None
            assert item.licence.name in row
            assert item.source.size is None or item.download in row
    for licence in {item.licence.summary for item in catalog().entries}:
        assert licence.partition(": ")[2] in guide


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(UsageError, match="did you mean whisper-base"):
        catalog().entry("whisper-bas")
    with pytest.raises(UsageError, match="there are tiny"):
        catalog().entry("zzz")
    assert entry("zzz") is None


@pytest.mark.parametrize(
    ("size", "words"),
    [(None, "size unknown"), (461, "0.5 kB"), (3758596, "3.8 MB"), (1348449561, "1.35 GB")],
)
def test_sizes_in_words(size: int | None, words: str) -> None:
    assert size_words(size) == words
