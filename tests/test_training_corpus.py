"""The corpus: texts, variations of a voice, espeak-ng's times, alignment, shards on disk."""

from __future__ import annotations

import csv
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.training import augment, corpus, espeak, flite, human, text_source
from omnitalk_cli.training.corpus import CorpusConfig, make_corpus
from omnitalk_cli.training.shards import CorpusItem, CorpusWriter, read_shard

RATE = 24_000
SENTENCES = [
    "the wind was cold and the road was long.",
    "she put the yellow lamp on the table.",
    "nobody knows where the old river begins.",
    "we had bread and cheese for dinner.",
    "my brother keeps seven horses near the lake.",
    "it rained all night, but the morning was bright.",
]


@pytest.fixture(scope="module")
def speaker() -> espeak.Espeak:
    try:
        return espeak.Espeak()
    except SetupError as error:
        pytest.skip(str(error))


def tone(hertz: float, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype("f4")


def loudest_hertz(audio: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(audio)).argmax() * RATE / len(audio))


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "zero"), (21, "twenty-one"), (300, "three hundred"), (70_005, "seventy thousand five")],
)
def test_numbers_are_spelled(value: int, words: str) -> None:
    assert text_source.spell_number(value) == words


def test_texts_hold_only_letters_of_the_vocabulary() -> None:
    assert text_source.normalise('He said: "It’s 42 -- Mr. Smith..."') == (
        "he said: it's forty-two, mister smith"
    )
    assert text_source.normalise("price: 5€") is None
    assert text_source.normalise("...") is None


def test_sentences_of_a_fortune_file_are_plain() -> None:
    fortunes = (
        "The cat sat down.  It slept.\n\t\t-- A. Writer\n%\nUse foo_bar(3) now.\n%\nWhy not go?"
    )
    assert text_source.sentences_of(fortunes) == ["the cat sat down.", "it slept.", "why not go?"]


def test_drawn_texts_never_hold_out_sentences() -> None:
    source = text_source.SentenceSource(SENTENCES, held_out=SENTENCES[:2])
    rng = np.random.default_rng(0)
    texts = [source.draw(rng) for _ in range(300)]
    letters = set(Vocabulary.letters().tokens)
    assert all(set(text) <= letters and text == " ".join(text.split()) for text in texts)
    assert not any(held in text for text in texts for held in SENTENCES[:2])
    assert len(set(texts)) > 150


@pytest.mark.parametrize("factor", [0.75, 1.0, 1.25])
def test_pitch_scales_at_constant_duration(factor: float) -> None:
    audio, exact = augment.scale_pitch(tone(1000), factor)
    assert exact == pytest.approx(factor, rel=0.01)
    assert loudest_hertz(audio) == pytest.approx(1000 * exact, rel=0.01)
    mel, scale = augment.stretched_mel(audio, exact)
    assert len(mel) == pytest.approx(94, abs=2)  # one second still
    assert scale / exact == pytest.approx(1.0, rel=0.01)


def test_unstretched_mel_is_the_mel_of_the_model() -> None:
    audio = tone(440)
    mel, scale = augment.stretched_mel(audio)
    assert scale == 1.0
    np.testing.assert_allclose(mel, log_mel(torch.from_numpy(audio)).numpy(), atol=1e-5)


def test_missing_top_bands_are_mirrored() -> None:
    mel = np.full((5, 100), -11.0, np.float32)
    mel[:, :90] = -3.0
    filled = augment.fill_top_bands(mel, 9000)
    assert filled.min() > -5.0
    np.testing.assert_array_equal(augment.fill_top_bands(mel, 12_000), mel)


def test_trim_keeps_a_little_silence_and_tells_the_cut() -> None:
    audio = np.concatenate([np.zeros(RATE), tone(300), np.zeros(RATE)]).astype("f4")
    cut, seconds = augment.trim(audio, np.random.default_rng(1))
    assert 0.9 <= seconds <= 0.95
    assert 1.1 <= len(cut) / RATE <= 1.22
    start, _ = augment.speech_span(cut)
    assert start / RATE == pytest.approx(1.0 - seconds, abs=0.011)


def test_a_channel_sets_the_level_and_leaves_no_digital_silence() -> None:
    rng = np.random.default_rng(2)
    channel = augment.Channel.sample(rng)
    audio = channel.apply(np.concatenate([tone(500), np.zeros(RATE // 2)]).astype("f4"), rng)
    assert len(audio) == RATE * 3 // 2
    assert float(np.sqrt(np.mean(audio**2))) == pytest.approx(channel.level, rel=0.1)
    assert np.abs(audio[-2400:]).max() > 0


def test_padding_of_a_noisy_recording_gets_its_noise() -> None:
    rng = np.random.default_rng(3)
    body = rng.normal(0, 0.01, RATE).astype("f4")
    body[5000:12000] += tone(400)[:7000]
    filled = augment.fill_silence(np.pad(body, 2400), rng)
    assert 0.004 < filled[:2000].std() < 0.02
    np.testing.assert_allclose(filled[4000:-4000], np.pad(body, 2400)[4000:-4000], atol=1e-6)


def test_espeak_tells_every_word(speaker: espeak.Espeak) -> None:
    text = "hello there, one of the dogs is well-known."
    spoken = speaker.say(text, espeak.EspeakVoice(name="en-us+f2"))
    starts = [start for start, _ in spoken.words]
    assert len(spoken.words) == len(text.split())
    assert starts == sorted(starts)
    assert all(start < end for start, end in spoken.words)
    # The comma is a pause: not a part of the word before it.
    assert spoken.words[2][0] - spoken.words[1][1] > 0.1
    assert spoken.words[-1][1] <= len(spoken.audio) / espeak.ESPEAK_RATE
    assert [symbol for symbol, _, _ in spoken.phones][:2] == ["h", "@"]
    loud = np.abs(spoken.audio) > 0.02
    assert np.flatnonzero(loud)[-1] / espeak.ESPEAK_RATE <= spoken.words[-1][1] + 0.06


def test_held_out_variants_are_not_drawn() -> None:
    assert not set(espeak.VARIANTS) & set(espeak.HELD_OUT_VARIANTS)


def test_shards_return_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.safetensors"
    writer = CorpusWriter(path)
    rng = np.random.default_rng(4)
    mels = [rng.normal(-2, 2, (frames, 100)).astype("f4") for frames in (40, 25)]
    writer.add(
        CorpusItem(
            mel=mels[0], text="so it is.", words=[(0.0, 0.1), (0.1, 0.2), (0.2, 0.4)],
            speaker="a", source="espeak", phones=[("s", 0.0, 0.1)],
        )
    )  # fmt: skip
    writer.add(CorpusItem(mel=mels[1], text="", words=[], speaker="b", source="b", language="de"))
    with pytest.raises(ValueError, match="word times"):
        writer.add(CorpusItem(mel=mels[1], text="two words", words=[], speaker="b", source="x"))
    with pytest.raises(ValueError, match="either"):
        writer.add(CorpusItem(text="", words=[], speaker="b", source="x"))
    writer.write()
    first, second = read_shard(path)
    np.testing.assert_allclose(first.mel, mels[0], atol=5e-3)
    np.testing.assert_allclose(second.mel, mels[1], atol=5e-3)
    assert first.words[1] == (0.1, 0.2)
    assert first.phones == [("s", 0.0, 0.1)]
    assert (second.text, second.phones, second.split) == ("", None, "train")
    assert (second.language, second.codes, second.audio) == ("de", None, None)


def test_recordings_lie_in_shards_as_sound(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.safetensors"
    writer = CorpusWriter(path)
    sounds = [np.arange(n, dtype=np.int16) for n in (24_000, 12_000)]
    for sound in sounds:
        writer.add(CorpusItem(audio=sound, text="", words=[], speaker="a", source="human:a"))
    with pytest.raises(ValueError, match="either mels or audio"):
        mel = np.zeros((4, 100))
        writer.add(CorpusItem(mel=mel, text="", words=[], speaker="a", source="human:a"))
    writer.write()
    found = list(read_shard(path))
    assert [item.seconds for item in found] == [1.0, 0.5]
    for item, sound in zip(found, sounds, strict=True):
        np.testing.assert_array_equal(item.audio, sound)


def test_a_file_that_is_no_shard_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="shard"):
        list(read_shard(path))


def record(speaker: espeak.Espeak, folder: Path) -> dict[str, list[tuple[float, float]]]:
    """A folder of recordings as :mod:`human` wants it; returns the true word times."""
    (folder / "anna").mkdir(parents=True)
    rows, truth = [], {}
    for number, text in enumerate(SENTENCES):
        spoken = speaker.say(text, espeak.EspeakVoice(name="en-us", rate=150))
        audio, _ = augment.scale_pitch(spoken.audio, 1.0, rate=espeak.ESPEAK_RATE)
        audio = augment.Channel.plain().apply(audio, np.random.default_rng(number))
        file = f"anna/{number:02d}.wav"
        with wave.open(str(folder / file), "wb") as out:
            out.setparams((1, 2, RATE, 0, "NONE", ""))
            out.writeframes((audio * 32767).astype(np.int16).tobytes())
        rows.append({"file": file, "speaker": "anna", "lang": "en", "text": text})
        truth[text] = spoken.words
    with open(folder / "metadata.csv", "w", newline="") as stream:
        table = csv.DictWriter(stream, ["file", "speaker", "lang", "text"])
        table.writeheader()
        table.writerows(rows)
    return truth


def test_recordings_are_aligned(speaker: espeak.Espeak, tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    truth = record(speaker, tmp_path / "in")
    file = human.prepare_part(tmp_path / "in", "anna", 0, 1, tmp_path)
    found = human.load_prepared([file])
    assert len(found) >= 3
    errors = []
    for recording in found:
        assert recording.phones is not None
        assert len(recording.words) == len(recording.text.split())
        true = np.array(truth[recording.text])
        # Trimming moved the beginning: compare the distances from the first word.
        starts = np.array(recording.words)[:, 0]
        errors += list(np.abs((starts - starts[0]) - (true[:, 0] - true[0, 0])))
    assert np.median(errors) < 0.08


def test_metadata_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metadata\.csv"):
        human.read_metadata(tmp_path, "anna")


def test_a_corpus_is_made_and_resumed(speaker: espeak.Espeak, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(s[0].upper() + s[1:] for s in SENTENCES))
    config = CorpusConfig(
        espeak_hours=0.006, shard_hours=0.003, text=(str(text),), held_out_sentences=1,
        audio_hours=0.003,
    )  # fmt: skip
    out, sound = tmp_path / "corpus", tmp_path / "audio"
    steps: list[float] = []
    made = make_corpus(
        config, out, progress=lambda _, done, __: steps.append(done), audio_dir=sound
    )
    shards = sorted(out.glob("shard-*.safetensors"))
    assert len(shards) == 3 and steps == [1, 2, 3]
    held, *train = [list(read_shard(path)) for path in shards]
    assert {item.split for item in held} == {"heldout"}
    assert len({item.speaker for item in held}) == len(espeak.HELD_OUT_VARIANTS)
    for item in (item for items in train for item in items):
        assert item.text not in {other.text for other in held}
        assert item.words[-1][1] <= len(item.mel) / 93.75 + 0.02
        assert np.isfinite(item.mel).all()
    assert made == pytest.approx(sum(len(i.mel) for s in (held, *train) for i in s) / 93.75)
    assert len(list(sound.glob("audio-*.safetensors"))) == 1

    shards[1].unlink()
    kept = shards[0].stat().st_mtime_ns
    assert 10 < make_corpus(config, out) < made  # only the missing one
    assert shards[0].stat().st_mtime_ns == kept
    again = list(read_shard(shards[1]))
    assert [item.text for item in again][:3] == [item.text for item in train[0]][:3]


def test_flite_makes_voices_of_recorded_people(tmp_path: Path) -> None:
    try:
        flite.find_flite()
    except SetupError as error:
        pytest.skip(str(error))
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(s[0].upper() + s[1:] for s in SENTENCES))
    config = CorpusConfig(
        text=(str(text),), espeak_hours=0, flite_hours=0.004, held_out_sentences=1
    )
    kinds = [kind for kind, _ in config.shards()]
    assert kinds == ["espeak-heldout"] + ["flite"] * len(flite.VOICES)
    writer = CorpusWriter(tmp_path / "shard-00001.safetensors")
    corpus._flite_shard(config, 0, writer)
    writer.write()
    for item in read_shard(tmp_path / "shard-00001.safetensors"):
        assert item.source == "flite:rms" and item.bandwidth == 8000
        assert item.words[-1][1] <= item.seconds + 0.02
        power = np.abs(np.fft.rfft(item.audio / 32768.0)) ** 2
        hertz = np.fft.rfftfreq(len(item.audio), 1 / RATE)
        assert power[hertz > 8500].sum() < 1e-4 * power.sum()


def test_a_missing_flite_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITALK_FLITE", str(tmp_path / "none"))
    with pytest.raises(SetupError, match="flite"):
        flite.say("hello there", "rms", tmp_path)
