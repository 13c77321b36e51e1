"""What is said in a reference, and when: given, beside the clip, recognised, or not known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from omnitalk_cli.errors import InputError
from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.pipeline.devices import choose_device
from omnitalk_cli.pipeline.reference_window import Window
from omnitalk_cli.progress import Progress
from omnitalk_cli.speech.aligner import Aligner
from omnitalk_cli.speech.asr import ASR_RATE, Recognition, Transcript, transcribe
from omnitalk_cli.speech.asr_models import NO_MODEL, AsrModel, find_model
from omnitalk_cli.text.normalise import normalise
from omnitalk_cli.text.phones import SILENCE
from omnitalk_cli.types import SAMPLE_RATE, Float, Word

_HAN = re.compile(r"[\u3400-\u9fff]")
_PHONE_SECONDS = (0.045, 0.16)  # mean length of a phone in speech that a text belongs to
_SURE = 0.5  # probability of a recognised language from which it is taken without a word
_LONGEST_QUOTE = 60  # characters
_COVERED = 0.95  # share of the clip that a window must hold for the clip's text to be its own


def sidecar(clip: Path) -> str:
    """The text beside ``clip`` (same name, ``.txt``), empty if there is none.

    Raises InputError when it is not UTF-8.
    """
    path = clip.with_suffix(".txt")
    if not path.is_file():
        return ""
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the transcript is not UTF-8 text") from error


def transcript(
    clip: Path,
    audio: Path,
    window: Window,
    *,
    total: float,
    text: str | None,
    language: str,
    model: str | None,
    device: str,
    progress: Progress,
    notes: Callable[[str], None],
) -> Transcript:
    """The words of ``window``: ``text`` if given, else the sidecar's, else recognised, else none.

    A text that is given is laid on the sound, if it is English: its words get times. Where it does
    not fit the sound it has none, with a note. The sidecar is taken only if the window is
    (nearly) the whole clip of ``total`` seconds; of a part, recognition knows better. ``language``
    is a code or ``auto``; ``model`` and ``device`` are those of the recognition.
    """
    beside = sidecar(clip)
    if text is None and beside and window.seconds >= _COVERED * total:
        text = beside
    if text is not None:
        text = " ".join(text.split())
        spoken = spoken_language(text, language)
        if not text or spoken != "en":
            return Transcript(text=text, language=spoken, words=())
        sound = decode_audio(audio, rate=SAMPLE_RATE, start=window.start, seconds=window.seconds)
        words = timed_words(sound, text)
        if not words:
            notes(
                f"{clip.name}: its text cannot be laid on the sound; only the pace is taken from it"
            )
        return Transcript(text=text, language=spoken, words=words)
    recogniser = recogniser_of(model, language, device)
    if recogniser is None:
        part = " for the part that is used" if beside else ""
        why = "" if model == NO_MODEL else " and no speech recognition model"
        notes(
            f"{clip.name}: no transcript{part}{why}; the embedded model works without "
            "(--ref-text gives one)"
        )
        return Transcript(text="", language=spoken_language("", language), words=())
    sound = decode_audio(audio, rate=ASR_RATE, start=window.start, seconds=window.seconds)
    progress("transcribe", 0, 1)
    heard = transcribe(
        sound, recogniser, language=None if language == "auto" else language,
        device=choose_device(device),
    )  # fmt: skip
    progress("transcribe", 1, 1)
    for line in _remarks(heard, recogniser, asked=model, device=choose_device(device)):
        notes(f"{clip.name}: {line}")
    if not heard.transcript.words:  # what language was recognised in no words, nobody knows
        return Transcript(text="", language=spoken_language("", language), words=())
    return heard.transcript


def recogniser_of(model: str | None, language: str, device: str) -> AsrModel | None:
    """The speech recognition model to use for a clip; raises what ``find_model`` raises."""
    where = choose_device(device)
    return find_model(model, device=where, language=None if language == "auto" else language)


def _remarks(
    heard: Recognition, recogniser: AsrModel, *, asked: str | None, device: str
) -> Iterator[str]:
    """What is worth knowing about how the words were found."""
    said = heard.transcript
    if not said.words:
        yield "no words were recognised in it; the embedded model works without (--ref-text)"
    elif asked in (None, "auto"):
        yield f"its words are those that whisper {recogniser.name} hears (--asr-model, --ref-text)"
    for dropped in heard.dropped:
        yield f'"{_shortened(dropped.text)}" was recognised but not believed: {dropped.reason}'
    if said.words and heard.language_probability < _SURE:
        yield (
            f"the language seems to be {said.language}, with a probability of only "
            f"{heard.language_probability:.0%}; extract --lang or --ref-text says for certain"
        )
    if device.startswith("cuda") and heard.device == "cpu":
        yield "speech was recognised on the CPU; its library finds no CUDA that it can use"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE].rstrip()} …"


def spoken_language(text: str, language: str) -> str:
    """``language``, or for ``auto`` what the script of ``text`` tells: ``zh`` or ``en``."""
    if language != "auto":
        return language
    return "zh" if _HAN.search(text) else "en"


def timed_words(audio: Float, text: str) -> tuple[Word, ...]:
    """The words of English ``text`` with their times in ``audio`` ``[S]`` (24 kHz); none where they
    cannot be found or would be said impossibly fast or slowly."""
    try:
        spoken = normalise(text)
    except InputError:
        return ()
    found = Aligner().align(audio, spoken)
    if found is None:
        return ()
    times, phones = found
    said = [end - start for symbol, start, end in phones if symbol != SILENCE]
    if not said or not _PHONE_SECONDS[0] < sum(said) / len(said) < _PHONE_SECONDS[1]:
        return ()
    return tuple(
        Word(text=word, start=start, end=end)
        for word, (start, end) in zip(spoken.split(), times, strict=True)
    )
