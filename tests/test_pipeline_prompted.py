"""Models that are prompted: chunks, lengths, the reference's preparation, and the whole way."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import f5_layout
from omnitalk_cli.dit.checkpoint import load_checkpoint, save_checkpoint
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError, SetupError, UsageError
from omnitalk_cli.pipeline import devices, models
from omnitalk_cli.pipeline.chunks import FADE_FRAMES, Chunk, chunks_of, join
from omnitalk_cli.pipeline.models import ChosenModel, choose_model
from omnitalk_cli.pipeline.performing import SpeechSettings, perform
from omnitalk_cli.pipeline.prompt import ended, prompt_of
from omnitalk_cli.pipeline.prompted import PromptedOptions
from omnitalk_cli.pipeline.prompted_model import load_prompted
from omnitalk_cli.pipeline.request import speech_settings
from omnitalk_cli.pipeline.script import read_script
from omnitalk_cli.pipeline.workshop import Workshop
from omnitalk_cli.speech.source import SourceVocoder
from omnitalk_cli.text.f5_tokens import spoken_bytes
from omnitalk_cli.text.spelling import letters
from omnitalk_cli.types import HOP, SAMPLE_RATE, Reference, Script, Segment
from omnitalk_cli.weights.importers import f5_tts
from omnitalk_cli.weights.importers.f5_tts import raw_normalisation
from references import made_reference

SPOKEN = "hello there you"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small F5-TTS with random weights, imported."""
    folder = tmp_path_factory.mktemp("f5")
    path = f5_layout.publish(folder, f5_layout.tensors())
    f5_tts.convert_v1(path, {"vocab.txt": folder / "vocab.txt"}, folder / "f5.safetensors")
    return folder / "f5.safetensors"


@pytest.fixture
def reference() -> Reference:
    """Three seconds of a hum between half a second of silence at both ends."""
    rng = np.random.default_rng(0)
    voice = 0.02 * np.sin(np.arange(3 * SAMPLE_RATE) / 20) * (1 + 0.3 * rng.random(3 * SAMPLE_RATE))
    voice = np.pad(voice, SAMPLE_RATE // 2)
    return replace(
        made_reference(), transcript=SPOKEN, voice=np.round(voice * 32767).astype(np.int16)
    )


def settings_of(path: Path, **options: Any) -> SpeechSettings:
    chosen = ChosenModel(name="f5-tts", path=path, kind="prompted", family="f5-tts")
    return SpeechSettings.of(
        chosen, device="cpu", dtype=torch.float32, vocoder="source",
        options={"steps": 5, "seed": 3, **options},
    )  # fmt: skip


def script(text: str) -> Script:
    return read_script(text, language="en")


# --- chunks ------------------------------------------------------------------------------------


def test_sentences_go_together_until_a_pause() -> None:
    chunks = chunks_of(script("One two. Three four.\n\nFive. [pause 2] Six."), most_bytes=200)
    assert [chunk.texts for chunk in chunks] == [
        ("one two.", "three four."), ("five.",), ("six.",),
    ]  # fmt: skip
    assert [chunk.runs_on for chunk in chunks] == [False] * 3
    assert [round(chunk.pause_after, 2) for chunk in chunks] == [0.35, 1.75, 0.0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("abc ,", min_size=1, max_size=90).filter(str.strip), min_size=1, max_size=8),
    st.integers(30, 150),
)
def test_chunks_hold_all_words_in_order(texts: list[str], limit: int) -> None:
    segments = tuple(Segment(text=" ".join(text.split()), pause_after=0.25) for text in texts)
    chunks = chunks_of(Script(segments=segments, language="en", source_sha256=""), most_bytes=limit)
    said = "".join(chunk.text for chunk in chunks).replace(" ", "")
    assert said == "".join(texts).replace(" ", "")
    assert all(spoken_bytes(chunk.text) <= limit for chunk in chunks if " " in chunk.text)


def test_chunks_fade_into_each_other_and_faces_go_on() -> None:
    chunks = [
        Chunk(texts=("a", "bcd"), pause_after=0.0, runs_on=True),
        Chunk(texts=("e",), pause_after=1.0, runs_on=False),
        Chunk(texts=("f",), pause_after=0.0, runs_on=False),
    ]
    one, fade = np.ones(100 * HOP, np.float32), FADE_FRAMES * HOP
    motions = [np.full((101, 61), level, np.float32) for level in (0.0, 1.0, 0.2)]
    joined = join(chunks, [one, 3 * one, one], motions)
    assert len(joined.sound) == (300 - FADE_FRAMES + 94) * HOP
    assert len(joined.codes) == len(joined.sound) // HOP + 1
    assert (np.diff(joined.sound[100 * HOP - fade : 100 * HOP]) >= 0).all()
    assert joined.sound[190 * HOP] == 0 and joined.sound[290 * HOP] == 1
    assert np.abs(np.diff(joined.codes[:, 0])).max() < 0.05  # no jump anywhere
    assert joined.codes[-1, 0] == pytest.approx(0.2, abs=0.1)
    assert [(s.text, round(s.start, 2), round(s.end, 2)) for s in joined.segments][:2] == [
        ("a", 0.0, 0.27), ("bcd", 0.27, 1.07),
    ]  # fmt: skip


# --- the reference -----------------------------------------------------------------------------


def test_the_reference_is_trimmed_and_made_louder(checkpoint: Path, reference: Reference) -> None:
    model = load_prompted(checkpoint, name="f5", device="cpu", dtype=torch.float32)
    prompt = prompt_of(reference, model)
    assert prompt.frames == round(3.05 * SAMPLE_RATE) // HOP
    assert len(prompt.mel) == prompt.frames + 1 == len(prompt.codes)
    assert reference.voice is not None
    spoken = reference.voice[SAMPLE_RATE // 2 : -SAMPLE_RATE // 2] / 32767
    rms = np.sqrt(np.square(spoken).sum() / (3.05 * SAMPLE_RATE))  # with 50 ms of silence
    assert prompt.gain == pytest.approx(0.1 / rms, rel=0.01)
    assert prompt.text == SPOKEN + ".  "


@pytest.mark.parametrize(
    ("text", "said"),
    [("a", "a.  "), ("a. ", "a.  "), ("a!", "a!.  "), ("好。", "好。"), ("好", "好.  ")],
)
def test_transcripts_end_with_a_mark(text: str, said: str) -> None:
    assert ended(text) == said


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"transcript": " "}, "--ref-text"),
        ({"voice": None}, "extract the clip again"),
        ({"voice": np.zeros(SAMPLE_RATE, np.int16)}, "hardly anything is heard"),
    ],
)
def test_references_that_cannot_be_spoken_after(
    checkpoint: Path, reference: Reference, change: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        perform(replace(reference, **change), script("Hi."), settings_of(checkpoint), shop())


# --- the whole way -----------------------------------------------------------------------------


def shop() -> Workshop:
    workshop = Workshop()
    workshop.vocoder = lambda name, **more: SourceVocoder()  # type: ignore[method-assign]
    return workshop


def test_a_voice_speaks_and_the_embedded_model_moves(
    checkpoint: Path, reference: Reference
) -> None:
    heard: list[str] = []
    performance = perform(
        reference, script("Hello there. [pause 1] You again."), settings_of(checkpoint), shop(),
        progress=lambda stage, done, total: heard.append(stage),
    )  # fmt: skip
    assert performance.sound is not None
    assert performance.mel.shape == (len(performance.sound) // HOP + 1, 100)
    assert performance.codes.shape == (len(performance.mel), 61)
    assert performance.codes.std(axis=0).max() > 0.001
    assert [segment.text for segment in performance.segments] == ["hello there.", "you again."]
    assert performance.settings["model"] == "f5-tts"
    assert performance.settings["motion_model"] == "tiny"
    assert set(heard) == {"speech", "synthesis"}


def test_the_same_seed_says_the_same(checkpoint: Path, reference: Reference) -> None:
    first, second, other = (
        perform(reference, script("Hi you."), settings_of(checkpoint, seed=seed), shop())
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.mel, second.mel)
    assert np.abs(first.mel - other.mel).max() > 0.01


def test_half_precision_says_nearly_the_same_and_the_guidance_interval_counts(
    checkpoint: Path, reference: Reference
) -> None:
    whole = settings_of(checkpoint)
    plain, half, part = (
        perform(reference, script("Hi you."), settings, shop()).mel
        for settings in (
            whole, replace(whole, dtype=torch.bfloat16),
            settings_of(checkpoint, cfg_interval="0:0.2"),
        )
    )  # fmt: skip
    assert 0 < np.abs(half - plain).mean() < 0.2 * plain.std()
    assert np.isfinite(part).all() and np.abs(part - plain).mean() > 0.1


def test_length_follows_bytes_speed_and_duration(checkpoint: Path, reference: Reference) -> None:
    text = "hello there you hello there you"
    seconds = {
        name: perform(reference, script(text), settings_of(checkpoint, **given_), shop()).seconds
        for name, given_ in {
            "usual": {}, "fast": {"speed": 2.0}, "fixed": {"duration": 4.0},
        }.items()
    }  # fmt: skip
    rate = 3.05 / spoken_bytes(SPOKEN + ".  ")
    assert seconds["usual"] == pytest.approx(rate * (len(text) + 1), abs=0.05)
    assert seconds["fast"] == pytest.approx(seconds["usual"] / 2, abs=0.05)
    assert seconds["fixed"] == pytest.approx(4.0, abs=0.05)
    with pytest.raises(UsageError, match="too short"):
        perform(reference, script(text), settings_of(checkpoint, duration=0.4), shop())


@pytest.mark.parametrize("vocabulary", ["f5", "letters"])
def test_a_model_of_the_papers_kind_makes_its_own_motion(
    tmp_path: Path, checkpoint: Path, reference: Reference, vocabulary: str
) -> None:
    voice = load_checkpoint(checkpoint, device="cpu", dtype=torch.float32)
    tokens = f5_layout.TOKENS if vocabulary == "f5" else letters().tokens
    config = replace(
        voice.model.config, audio_only=False, single_depth=1, visual_dim=64,
        vocabulary_size=len(tokens) + 1,
    )  # fmt: skip
    torch.manual_seed(0)
    whole = DualBranchDiT(DiTConfig(**vars(config)))
    for parameter in whole.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    path = tmp_path / "whole.safetensors"
    save_checkpoint(
        path, config=whole.config, state=whole.state_dict(), normalisation=raw_normalisation(),
        extras={
            "family": "omnitalker", "vocabulary": vocabulary, "tokens": list(tokens),
            "languages": ["en"],
        },
        dtype=torch.float32,
    )  # fmt: skip
    performance = perform(reference, script("Hello there."), settings_of(path), shop())
    assert "motion_model" not in performance.settings
    assert performance.codes.shape == (len(performance.mel), 61)
    assert performance.codes[:, :51].min() >= 0 <= performance.codes[:, :51].max() <= 1


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"speed": 3.0},
        {"duration": 0.0},
        {"schedule": "epss", "steps": 9},
        {"cfg_interval": "0.5"},
    ],
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        PromptedOptions(**options)


def test_steps_without_epss_take_sway() -> None:
    assert len(PromptedOptions(steps=9).grid) == 10
    assert PromptedOptions(steps=7).grid != PromptedOptions(steps=7, schedule="sway").grid


# --- which model -------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> None:
    """``f5-tts`` is installed, everything else is as it is."""
    find = models.find_weights

    def found(name: str) -> Path:
        if name in ("f5-tts-v0", "f5-tts-bigvgan"):
            raise SetupError("not installed")
        return checkpoint if name == "f5-tts" else find(name)

    monkeypatch.setattr(models, "find_weights", found)


@pytest.mark.parametrize(
    ("name", "device", "language", "chosen", "why"),
    [
        ("auto", "cuda", "en", "f5-tts", "best voice"),
        ("auto", "cpu", "en", "tiny", "--model f5-tts"),
        ("auto", "cpu", "zh", "f5-tts", "does not speak zh"),
        ("auto", "cuda", None, "tiny", ""),
        ("f5-tts", "cpu", "en", "f5-tts", ""),
        ("tiny", "cuda", "zh", "tiny", ""),
    ],
)
def test_auto_takes_the_best_that_is_practical_and_says_why(
    installed: None, name: str, device: str, language: str | None, chosen: str, why: str
) -> None:
    model = choose_model(name, device=device, language=language)
    assert model.name == chosen and model.kind == ("joint" if chosen == "tiny" else "prompted")
    assert why in model.why and bool(why) == bool(model.why)


def test_without_a_voice_auto_is_the_embedded_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", "/nonexistent")
    for language in ("en", "zh"):
        assert choose_model("auto", device="cuda", language=language).name == "tiny"


def install(folder: Path, name: str, content: bytes) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "model.safetensors").write_bytes(content)


def test_auto_takes_no_voice_that_nothing_makes_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path / "weights"))
    published = f5_layout.publish(tmp_path, f5_layout.tensors())
    f5_tts.convert_v0_bigvgan(
        published, {"vocab.txt": tmp_path / "vocab.txt"}, tmp_path / "f5.safetensors"
    )
    voice = (tmp_path / "f5.safetensors").read_bytes()
    install(tmp_path / "weights", "f5-tts-bigvgan", voice)
    chosen = choose_model("auto", device="cuda", language="en")
    assert chosen.name == "tiny" and "omnitalk weights pull bigvgan" in chosen.why
    # Nothing else speaks it, so that what is lacking is told.
    assert choose_model("auto", device="cpu", language="zh").name == "f5-tts-bigvgan"
    install(tmp_path / "weights", "bigvgan", models.find_weights("vocoder").read_bytes())
    assert choose_model("auto", device="cuda", language="en").name == "f5-tts-bigvgan"


@pytest.mark.parametrize(
    ("convert", "dtype"),
    [(f5_tts.convert_v1, torch.float16), (f5_tts.convert_v0_bigvgan, torch.float32)],
)
def test_on_a_gpu_it_runs_in_the_precision_of_its_authors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, convert: Any, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(devices, "choose_device", lambda name: "cuda")
    published = f5_layout.publish(tmp_path, f5_layout.tensors())
    convert(published, {"vocab.txt": tmp_path / "vocab.txt"}, tmp_path / "f5.safetensors")
    monkeypatch.setattr("omnitalk_cli.speech.vocoders.settle_vocoder", lambda *a, **b: "any")
    settings = speech_settings(
        model=str(tmp_path / "f5.safetensors"), device="cuda", dtype="auto", language="en",
        vocoder=None, options={},
    )  # fmt: skip
    assert settings.dtype == dtype


def test_auto_takes_no_file_that_only_lies_in_the_place_of_a_voice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path))
    install(tmp_path, "f5-tts", models.find_weights("vocoder").read_bytes())
    for device in ("cpu", "cuda"):
        chosen = choose_model("auto", device=device, language="en")
        assert chosen.name == "tiny" and "is not a model that speaks" in chosen.why


def test_auto_takes_the_embedded_model_for_a_clip_without_transcript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path, reference: Reference
) -> None:
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path))
    install(tmp_path, "f5-tts", checkpoint.read_bytes())
    # As on a machine with a GPU, where the voice is taken.
    monkeypatch.setattr(models, "choose_model", partial(choose_on_gpu, models.choose_model))
    common: dict[str, Any] = {"device": "cpu", "dtype": "auto", "language": "en"}
    options = {"steps": 5, "seed": 3}
    chosen = speech_settings(model="auto", vocoder=None, options=options, **common)
    assert chosen.model.name == "f5-tts" and chosen.otherwise is not None
    mute = replace(reference, transcript=" ")
    notes: list[str] = []
    performance = perform(mute, script("One."), chosen, Workshop(), notes=notes.append)
    assert performance.settings["model"] == "tiny" and performance.settings["steps"] == 5
    assert any("f5-tts must know what is said" in note for note in notes)
    # What was asked for by name is not exchanged.
    for asked in ({"model": "f5-tts", "vocoder": None}, {"model": "auto", "vocoder": "source"}):
        named = speech_settings(options=options, **asked, **common)
        assert named.model.name == "f5-tts" and named.otherwise is None
        with pytest.raises(InputError, match="must know what is said"):
            perform(mute, script("One."), named, Workshop())


def choose_on_gpu(choose: Any, name: str, *, device: str, language: str | None) -> ChosenModel:
    return choose(name, device="cuda", language=language)


def test_auto_says_that_a_voice_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path))
    install(tmp_path, "f5-tts", b"damaged")
    chosen = choose_model("auto", device="cuda", language="en")
    assert chosen.name == "tiny" and "omnitalk weights pull f5-tts --overwrite" in chosen.why
    assert choose_model("auto", device="cuda", language=None).why == ""


def test_recorded_speech_is_told_before_the_clip_is_looked_at(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="leave --model out"):
        speech_settings(
            model=str(checkpoint), device="cpu", dtype="auto", language=None, vocoder=None,
            options={},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("has_voice", "told"), [(False, "pull --profile voice"), (True, "--model f5-tts does")]
)
def test_a_language_that_the_model_does_not_speak_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path, has_voice: bool, told: str
) -> None:
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path))
    if has_voice:
        install(tmp_path, "f5-tts", checkpoint.read_bytes())
    with pytest.raises(InputError, match=f"speaks en, not zh; .*{told}"):
        speech_settings(
            model="tiny", device="cpu", dtype="auto", language="zh", vocoder=None, options={}
        )


@pytest.mark.parametrize("name", ["vocoder", "whisper-base"])
def test_weights_that_do_not_speak_are_told(name: str) -> None:
    with pytest.raises(InputError, match="not a model that speaks"):
        choose_model(name, device="cpu", language="en")


@pytest.mark.parametrize("name", ["f5tts", "F5-TTS"])
def test_a_name_with_a_slip_gets_a_hint(name: str) -> None:
    with pytest.raises(SetupError, match="did you mean f5-tts"):
        choose_model(name, device="cpu", language="en")


def test_a_joint_model_is_not_prompted() -> None:
    path = models.find_weights("tiny")
    with pytest.raises(InputError, match="not a model that is prompted"):
        load_prompted(path, name="tiny", device="cpu", dtype=torch.float32)
