"""What is said in a clip, by faster-whisper, if a model of it is installed. Nothing is fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnitalk_cli.errors import SetupError
from omnitalk_cli.types import Float, Word

ASR_RATE = 16_000
_MODEL_FILE = "model.bin"
_VARIABLE = "OMNITALK_ASR_MODEL"


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """Words in order, the text they make, and the language's code (``en``, ``zh`` …)."""

    text: str
    language: str
    words: tuple[Word, ...]


def find_model(name: str | None = None) -> Path | None:
    """The folder of a faster-whisper model, None when none is installed.

    ``name`` (or ``$OMNITALK_ASR_MODEL``) is a folder or the name of an installed model, e.g.
    ``base``; with neither, the largest installed one is taken. Raises SetupError when a model that
    was asked for is not there.
    """
    wanted = name or os.environ.get(_VARIABLE) or None
    if wanted is None:
        return max(_installed().values(), key=_size, default=None)
    folder = Path(wanted).expanduser()
    if (folder / _MODEL_FILE).is_file():
        return folder
    known = _installed()
    for key in (wanted, f"faster-whisper-{wanted}"):
        if key in known:
            return known[key]
    have = f" (installed: {', '.join(sorted(known))})" if known else ""
    raise SetupError(
        f"no speech recognition model {wanted}{have}; give the folder of a faster-whisper model, "
        f"put one into {models_folder()}, or say what is spoken with --ref-text"
    )


def models_folder() -> Path:
    """Where models are looked for first, one folder each."""
    from platformdirs import user_data_path

    return user_data_path("omnitalk", appauthor=False) / "models" / "whisper"


def transcribe(audio: Float, model: Path, *, language: str | None = None) -> Transcript:
    """Words of ``audio`` (mono float32 ``[S]`` at 16 kHz) with times in seconds.

    ``language`` is a code, None to recognise it. Raises SetupError when the model cannot be loaded.
    """
    try:
        from faster_whisper import WhisperModel

        network = WhisperModel(str(model), device="cpu", compute_type="int8", local_files_only=True)
    except (ImportError, RuntimeError, ValueError, OSError) as error:
        raise SetupError(
            f"the speech recognition model at {model} cannot be loaded ({error}); "
            "give another with --asr-model, or the text with --ref-text"
        ) from error
    segments, info = network.transcribe(
        audio,
        language=language,
        word_timestamps=True,
        condition_on_previous_text=False,  # a wrong sentence would spread to the next
        vad_filter=False,
        temperature=0.0,
    )
    words = [word for segment in segments for word in _words(segment)]
    text = "".join(word.text for word in words).strip()
    stripped = tuple(Word(text=w.text.strip(), start=w.start, end=w.end) for w in words)
    return Transcript(text=text, language=str(info.language), words=stripped)


def _words(segment: Any) -> list[Word]:
    spoken = segment.words or ()
    return [Word(text=w.word, start=float(w.start), end=float(w.end)) for w in spoken]


def _installed() -> dict[str, Path]:
    """Models by name: the data folder first, then the Hugging Face cache."""
    found: dict[str, Path] = {}
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    for file in sorted(hub.glob(f"models--*faster-*whisper*/snapshots/*/{_MODEL_FILE}")):
        name = file.parents[2].name.removeprefix("models--").replace("--", "/")
        found[name] = file.parent
        found.setdefault(name.rpartition("/")[2], file.parent)
    for file in sorted(models_folder().glob(f"*/{_MODEL_FILE}")):
        found[file.parent.name] = file.parent
    return found


def _size(folder: Path) -> int:
    return (folder / _MODEL_FILE).stat().st_size
