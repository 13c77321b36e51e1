"""Which model speaks: one that was asked for, or the best one that is installed and practical here.

Two kinds: ``joint``, the embedded model's, makes speech and motion from phones and their times;
``prompted`` takes reference and text as one sequence, as F5-TTS and the paper do (text as filler
tokens). A prompted model without a visual branch speaks, and the embedded model moves to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.weights.catalog import entries, entry
from omnitalk_cli.weights.store import find_weights, look_at, read_header

if TYPE_CHECKING:
    from omnitalk_cli.speech.mel import MelKind

AUTO = "auto"
EMBEDDED = "tiny"
# Installed voices that ``auto`` takes, the best first.
VOICES = ("f5-tts", "f5-tts-v0", "f5-tts-bigvgan")

Kind = Literal["joint", "prompted"]


@dataclass(frozen=True, kw_only=True)
class ChosenModel:
    """A model by its name (or file), where it lies, its kind, the ``family`` that its file names
    (``f5-tts`` …, or ""), the languages and the mel that it speaks in, and why it was taken ("":
    asked for, or the only one)."""

    name: str
    path: Path
    kind: Kind
    family: str
    languages: tuple[str, ...] = ()
    mel: MelKind = "vocos"
    why: str = ""


def choose_model(name: str, *, device: str, language: str | None) -> ChosenModel:
    """The model ``name``; ``auto``: what suits.

    ``auto`` takes an installed voice model on a GPU, where it is quick, and for a ``language`` that
    the embedded model does not speak anywhere; else the embedded model. ``language`` None: nothing
    is to be spoken. Raises SetupError when the weights are missing, InputError for other files.
    """
    if name != AUTO:
        return _chosen(name, "")
    voice = _installed_voice() if language is not None else None
    if voice is None:
        return _chosen(EMBEDDED, _damaged_voice() if language is not None else "")
    if language not in embedded_languages():
        return _chosen(voice, f"the embedded model does not speak {language}")
    if reason := _hindrance(voice):
        return _chosen(EMBEDDED, f"{voice} cannot be used: {reason}")
    if device.startswith("cuda"):
        return _chosen(voice, "the best voice that is installed")
    return _chosen(
        EMBEDDED, f"{voice} is installed, but slow without a GPU; --model {voice} takes it"
    )


def embedded_languages() -> tuple[str, ...]:
    """What the embedded model speaks."""
    return _chosen(EMBEDDED, "").languages


def check_language(chosen: ChosenModel, language: str) -> None:
    """Raises InputError, with what would speak it, when ``chosen`` does not speak ``language``."""
    if not chosen.languages or language in chosen.languages:
        return
    voice = _installed_voice()
    if chosen.name in VOICES:
        remedy = "give a script in one of these"
    elif voice is not None:
        remedy = f"--model {voice} does"
    else:
        remedy = chosen.why or "omnitalk weights pull --profile voice gets a voice that does"
    spoken = ", ".join(chosen.languages)
    raise InputError(f"the model {chosen.name} speaks {spoken}, not {language}; {remedy}")


def candidates(name: str) -> tuple[str, ...]:
    """All weights that a video with ``--model name`` may be made with: the embedded model, which
    also moves to what others speak, and for ``auto`` the voice that is installed."""
    voice = _installed_voice() if name == AUTO else name
    return (EMBEDDED,) if voice in (None, EMBEDDED) else (EMBEDDED, str(voice))


def _chosen(name: str, why: str) -> ChosenModel:
    known = entry(name)
    if known is not None and known.job != "model":
        raise InputError(
            f"--model {name}: is not a model that speaks ({known.about}); see `omnitalk weights "
            "list`"
        )
    path = find_weights(name)
    extras = _extras(path)
    if "vocabulary" not in extras:
        raise InputError(f"{path}: is not a model that speaks; see `omnitalk weights list`")
    return ChosenModel(
        name=name,
        path=path,
        kind="joint" if extras["vocabulary"] == "phones" else "prompted",
        family=str(extras.get("family", "")),
        languages=tuple(extras.get("languages", ())),
        mel=extras.get("mel", "vocos"),
        why=why,
    )


def _installed_voice() -> str | None:
    """The best one that is installed, first of those that can be heard."""
    there = [name for name in VOICES if _is_there(name)]
    usable = (name for name in there if not _hindrance(name))
    return next(usable, there[0] if there else None)


def _is_there(name: str) -> bool:
    try:
        find_weights(name)
    except SetupError:
        return False
    return True


def _hindrance(voice: str) -> str:
    """Why an installed voice would not be heard: another file, or no vocoder for its mel."""
    from omnitalk_cli.speech.vocoders import choose_vocoder

    try:
        choose_vocoder(_chosen(voice, "").mel, joint=False)
    except (InputError, SetupError) as error:
        return str(error)
    return ""


def _damaged_voice() -> str:
    """Why a voice that somebody installed is not taken; "" when there is none."""
    states = [look_at(item) for item in entries() if item.name in VOICES]
    return next((f"{item.problem}; {item.repair}" for item in states if item.problem), "")


def _extras(path: Path) -> dict[str, Any]:
    extras = read_header(path).facts.get("extras")
    return extras if isinstance(extras, dict) else {}
