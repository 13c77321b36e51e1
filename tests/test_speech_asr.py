"""Which speech model is taken, and the way from a clip's sound to its words, with models made by
CTranslate2's converter: a random one, and one that always hears the same sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from drawn_face import face_frames, write_clip
from media_samples import run_ffmpeg
from omnitalk_cli.cli.app import app
from omnitalk_cli.errors import SetupError
from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.pipeline.reference import ExtractOptions, resolve_reference
from omnitalk_cli.pipeline.reference_store import load_reference
from omnitalk_cli.pipeline.reference_text import transcript
from omnitalk_cli.pipeline.reference_window import Window
from omnitalk_cli.progress import silent
from omnitalk_cli.speech.asr import transcribe
from omnitalk_cli.speech.asr_models import (
    AsrModel,
    best_model,
    find_model,
    installed_models,
    short_name,
)
from omnitalk_cli.types import Float
from tiny_whisper import tiny_whisper

VOICE = Path(__file__).resolve().parent.parent / "examples" / "reference.mp4"
SENTENCE = "Hello, I am Mira. I was drawn."
TIMES = (0.6, 2.6)


@pytest.fixture(scope="session")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that always hears SENTENCE at TIMES."""
    return tiny_whisper(tmp_path_factory.mktemp("asr") / "speaking", SENTENCE, times=TIMES)


@pytest.fixture(scope="session")
def voice() -> Float:
    return decode_audio(VOICE, rate=16_000, seconds=3.0)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn face with the voice of the example."""
    folder = tmp_path_factory.mktemp("talk")
    silent = write_clip(
        folder / "silent.mp4", face_frames(75, 256, 192, [(128.0, 96.0, 100.0)]), sound=None
    )
    path = folder / "talk.mp4"
    run_ffmpeg("-i", silent, "-i", VOICE, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-t", "3",
               path)  # fmt: skip
    return path


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every place in which models are looked for is in this folder."""
    monkeypatch.delenv("OMNITALK_ASR_MODEL", raising=False)
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def put(folder: Path, size: int = 10, *, without: str = "") -> Path:
    """The files of a model, with weights of ``size`` bytes that take no space."""
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.json"):
        if name != without:
            (folder / name).write_bytes(b"{}")
    if without != "model.bin":
        with (folder / "model.bin").open("wb") as file:
            file.truncate(size)
    return folder


def test_models_are_found_in_all_places_by_short_names(homes: Path) -> None:
    assert find_model() is None and installed_models() == ()
    pulled = put(homes / "weights" / "whisper-base")
    put(homes / "hub" / "models--Systran--faster-whisper-base" / "snapshots" / "1")
    put(homes / "hub" / "models--Systran--faster-whisper-tiny.en" / "snapshots" / "1")
    put(homes / "hub" / "models--owner--faster-whisper-large-v3-turbo" / "snapshots" / "1")
    put(homes / "data" / "omnitalk" / "models" / "whisper" / "mine")
    put(homes / "weights" / "whisper-small", without="tokenizer.json")
    names = {model.name for model in installed_models()}
    assert names == {"base", "tiny.en", "turbo", "mine"}
    for name in ("base", "whisper-base", "faster-whisper-base", "Systran/faster-whisper-base"):
        found = find_model(name)
        assert found is not None and found.folder == pulled
    assert find_model("none") is None


@pytest.mark.parametrize("name", ["tiny", "base", "small", "medium", "large-v3", "turbo", "large"])
def test_a_model_that_is_asked_for_and_missing(homes: Path, name: str) -> None:
    put(homes / "weights" / "whisper-mine")
    with pytest.raises(SetupError) as caught:
        find_model(name)
    short = "large-v3" if name == "large" else name
    assert f"omnitalk weights pull whisper-{short}" in str(caught.value)
    assert "installed: mine" in str(caught.value) and caught.value.exit_code == 4


def test_a_folder_of_the_same_name_hides_no_model(
    homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("base", "small"):
        (homes / "here" / name).mkdir(parents=True)
    monkeypatch.chdir(homes / "here")
    with pytest.raises(SetupError, match="weights pull whisper-small"):
        find_model("small")
    pulled = put(homes / "weights" / "whisper-base")
    found = find_model("base")
    assert found is not None and found.folder == pulled
    for name in ("medium", "elsewhere/whisper-base"):  # whole ones are models by themselves
        put(homes / "here" / name)
        found = find_model(name)
        assert found is not None and found.folder == Path(name)


def test_the_hubs_cache_is_where_the_hub_puts_it(
    homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(homes / "cache"))
    hub = homes / "cache" / "huggingface" / "hub"
    put(hub / "models--Systran--faster-whisper-base" / "snapshots" / "1")
    assert [model.name for model in installed_models()] == ["base"]


def test_unknown_names_and_incomplete_folders_are_told(homes: Path) -> None:
    with pytest.raises(SetupError, match="no speech recognition model gigantic; give one of tiny"):
        find_model("gigantic")
    folder = put(homes / "half", without="tokenizer.json")
    with pytest.raises(SetupError, match=r"half: no faster-whisper model; tokenizer.json missing"):
        find_model(str(folder))


def test_the_variable_names_a_model(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(homes / "weights" / "whisper-base", 20)
    tiny = put(homes / "weights" / "whisper-tiny", 10)
    monkeypatch.setenv("OMNITALK_ASR_MODEL", "tiny")
    found = find_model()
    assert found is not None and found.folder == tiny
    monkeypatch.setenv("OMNITALK_ASR_MODEL", "none")
    assert find_model() is None


SIZES = {"tiny": 75, "base": 145, "small": 484, "medium": 1528, "turbo": 1618, "large-v3": 3087,
         "small.en": 484, "distil-large-v3": 1513}  # fmt: skip


@pytest.mark.parametrize(
    ("names", "device", "language", "best"),
    [
        ("tiny base small medium large-v3", "cpu", None, "small"),
        ("tiny base small medium large-v3", "cuda:1", None, "large-v3"),
        ("tiny large-v3", "cpu", None, "tiny"),
        ("large-v3 turbo medium", "cpu", None, "medium"),
        ("turbo small", "cuda", None, "turbo"),
        ("small.en tiny", "cpu", None, "tiny"),
        ("small.en tiny", "cpu", "en", "small.en"),
        ("small.en tiny", "cpu", "zh", "tiny"),
        ("small.en", "cpu", "zh", None),
        ("small.en", "cpu", None, "small.en"),
        ("distil-large-v3 small", "cuda", None, "small"),
        ("", "cpu", None, None),
    ],
)
def test_the_best_model_that_is_sensible(
    tmp_path: Path, names: str, device: str, language: str | None, best: str | None
) -> None:
    models = tuple(
        AsrModel(name=name, folder=put(tmp_path / name, SIZES[name] * 10**6))
        for name in names.split()
    )
    found = best_model(models, device=device, language=language)
    assert (found.name if found else None) == best


def test_short_names() -> None:
    assert short_name("deepdml/faster-whisper-large-v3-turbo-ct2") == "turbo"
    assert short_name("Systran/faster-distil-whisper-small.en") == "distil-small.en"
    assert short_name("my-own") == "my-own"


def test_identity_tells_models_apart(tmp_path: Path) -> None:
    one = AsrModel(name="base", folder=put(tmp_path / "one", 300_000))
    two = AsrModel(name="base", folder=put(tmp_path / "two", 300_000))
    assert one.identity() != two.identity()
    before = one.identity()
    assert before == AsrModel(name="other", folder=tmp_path / "two" / ".." / "one").identity()
    with (one.folder / "model.bin").open("r+b") as file:
        file.write(b"x")
    assert one.identity() != before


def test_a_sentence_is_heard_with_its_times(speaking: Path, voice: Float) -> None:
    heard = transcribe(voice, AsrModel(name="speaking", folder=speaking))
    said = heard.transcript
    assert said.text == SENTENCE and said.language == "en" and heard.device == "cpu"
    assert [word.text for word in said.words] == SENTENCE.split()
    assert heard.language_probability > 0.9 and not heard.dropped
    # The first word reaches back to the beginning of its segment; the others are where they belong.
    assert abs(said.words[-1].end - TIMES[1]) < 0.15
    assert all(a.end <= b.start for a, b in zip(said.words, said.words[1:], strict=False))


@pytest.mark.parametrize("level", [0.0, 1e-5, 0.05])
def test_the_same_sentence_is_not_believed_of_silence_and_noise(
    speaking: Path, level: float
) -> None:
    sound = np.random.default_rng(0).normal(0, level, 48_000).astype(np.float32)
    heard = transcribe(sound, AsrModel(name="speaking", folder=speaking))
    assert heard.transcript.text == "" and heard.transcript.words == ()
    assert [dropped.text for dropped in heard.dropped] == [SENTENCE]


def test_a_random_model_goes_all_the_way_and_is_not_believed(tmp_path: Path, voice: Float) -> None:
    model = AsrModel(name="random", folder=tiny_whisper(tmp_path / "random"))
    heard = transcribe(voice, model, language="en")
    assert heard.transcript.words == () and heard.dropped
    assert "guessed" in heard.dropped[0].reason


def test_languages_are_told_or_recognised(tmp_path: Path, voice: Float) -> None:
    text = "你好，我是米拉。"
    model = AsrModel(name="zh", folder=tiny_whisper(tmp_path / "zh", text, language="zh", rest=0.3))
    heard = transcribe(voice, model)
    assert heard.transcript.language == "zh" and heard.transcript.text == text
    assert 0.6 < heard.language_probability < 0.8
    assert len(heard.transcript.words) == 6  # a character each, with its punctuation
    told = transcribe(voice, model, language="en")
    assert told.transcript.language == "en" and told.language_probability == 1.0
    with pytest.raises(SetupError, match="does not know the language xx"):
        transcribe(voice, model, language="xx")


def test_a_model_that_cannot_be_loaded(tmp_path: Path, voice: Float) -> None:
    model = AsrModel(name="broken", folder=put(tmp_path / "broken"))
    with pytest.raises(SetupError, match="cannot be used .*--ref-text"):
        transcribe(voice, model)


def test_without_cuda_for_ctranslate2_the_cpu_does_it(speaking: Path, voice: Float) -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count():
        pytest.skip("there is a CUDA device")
    heard = transcribe(voice, AsrModel(name="speaking", folder=speaking), device="cuda")
    assert heard.device == "cpu" and heard.transcript.text == SENTENCE


def test_extract_writes_what_is_heard(clip: Path, speaking: Path, tmp_path: Path) -> None:
    output = tmp_path / "features.safetensors"
    done = CliRunner().invoke(
        app,
        ["extract", str(clip), "-o", str(output), "--asr-model", str(speaking), "--no-cache",
         "--size", "256", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["transcript"] == SENTENCE
    kept = load_reference(output)
    assert kept.language == "en" and [word.text for word in kept.words] == SENTENCE.split()
    assert kept.words[-1].end <= kept.seconds


def test_what_is_worth_knowing_is_noted(clip: Path, speaking: Path, homes: Path) -> None:
    def notes_of(model: str | None = None) -> list[str]:
        notes: list[str] = []
        transcript(
            clip, clip, Window(start=0.0, seconds=3.0), total=3.0, text=None, language="auto",
            model=model, device="cpu", progress=silent, notes=notes.append,
        )  # fmt: skip
        return notes

    (homes / "weights").mkdir()
    (homes / "weights" / "whisper-base").symlink_to(speaking)
    assert any("whisper base hears" in note for note in notes_of())
    assert any("no transcript;" in note for note in notes_of("none"))
    assert notes_of("base") == []
    unsure = tiny_whisper(homes / "unsure", "Thank you for watching.", times=(0.1, 0.4), rest=0.6)
    notes = notes_of(str(unsure))
    assert any("no words were recognised" in note for note in notes)
    assert any('"Thank you for watching."' in note and "not believed" in note for note in notes)
    unsure = tiny_whisper(homes / "surer", SENTENCE, times=TIMES, rest=0.6)
    notes = notes_of(str(unsure))
    assert len(notes) == 1 and "seems to be en" in notes[0] and "40%" in notes[0]


def test_the_cache_knows_the_model(clip: Path, speaking: Path, homes: Path, tmp_path: Path) -> None:
    options = ExtractOptions(frame_size=128, asr_model=str(speaking))
    cache = tmp_path / "cache"
    first, hit = resolve_reference(clip, options=options, cache_dir=cache)
    assert not hit and first.transcript == SENTENCE
    _, hit = resolve_reference(clip, options=options, cache_dir=cache)
    assert hit
    other = tiny_whisper(homes / "other" / "speaking", "Good morning.", times=TIMES)
    second, hit = resolve_reference(
        clip, options=ExtractOptions(frame_size=128, asr_model=str(other)), cache_dir=cache
    )
    assert not hit and second.transcript == "Good morning."
    with pytest.raises(SetupError, match="pull whisper-small"):
        resolve_reference(clip, options=ExtractOptions(asr_model="small"), cache_dir=cache)


@pytest.mark.slow
def test_generate_with_a_speech_model(clip: Path, speaking: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    done = CliRunner().invoke(
        app,
        ["generate", "--ref", str(clip), "--say", "Good morning.", "-o", str(output), "--no-cache",
         "--asr-model", str(speaking), "--size", "256", "--seed", "1", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert output.stat().st_size > 10_000
