"""Which faster-whisper models are installed, and which of them to take. Nothing is fetched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omnitalk_cli.errors import SetupError
from omnitalk_cli.weights.hub import cache_folder
from omnitalk_cli.weights.store import weights_folder

PULLABLE = ("tiny", "base", "small", "medium", "large-v3", "turbo")
NO_MODEL = "none"  # as a name: recognise nothing

_VARIABLE = "OMNITALK_ASR_MODEL"
_MODEL_FILE = "model.bin"
# Without its own tokenizer, faster-whisper would fetch one.
_FILES = (_MODEL_FILE, "config.json", "tokenizer.json")
_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
_PREFIX = re.compile(r"^(?:.*/)?(?:faster-)?(distil-)?(?:whisper-)?", re.IGNORECASE)
_ALIASES = {"large": "large-v3", "large-v3-turbo": "turbo"}
# Bytes of model.bin above which a model is slow on a CPU: small has 0.5 GB, medium 1.5.
_LARGEST_FOR_CPU = 700_000_000


@dataclass(frozen=True, kw_only=True)
class AsrModel:
    """An installed model: its short name (``base``, ``small.en``, ``turbo``) and its folder."""

    name: str
    folder: Path

    @property
    def size(self) -> int:
        """Bytes of its weights."""
        return (self.folder / _MODEL_FILE).stat().st_size

    @property
    def english_only(self) -> bool:
        """Whether it knows English alone, by its name."""
        return self.name.endswith(".en") or self.name.startswith("distil-")

    def identity(self) -> str:
        """What tells it from another model on this machine, also one that takes its place."""
        found = (self.folder / _MODEL_FILE).stat()
        return f"{self.folder.resolve()} {found.st_size} {found.st_mtime_ns}"


def find_model(
    name: str | None = None, *, device: str = "cpu", language: str | None = None
) -> AsrModel | None:
    """The model to recognise speech with; None when there is none, or none is wanted.

    ``name`` (or ``$OMNITALK_ASR_MODEL``) is that of an installed model, a folder, ``none`` or
    ``auto``: the best that is sensible on ``device`` (on a CPU, one of over a billion numbers only
    if nothing smaller is there) for ``language`` (a code; None: not known). Raises SetupError when
    a model that was asked for is not there or not whole.
    """
    wanted = name or os.environ.get(_VARIABLE) or "auto"
    if wanted == NO_MODEL:
        return None
    known = installed_models()
    if wanted == "auto":
        return best_model(known, device=device, language=language)
    named = next((model for model in known if model.name == short_name(wanted)), None)
    # A name means the model, also where a folder happens to be called base or small.
    bare = Path(wanted).name == wanted
    if bare and named is not None:
        return named
    folder = Path(wanted).expanduser()
    if folder.is_dir():
        lacking = _lacking(folder)
        if not lacking:
            return AsrModel(name=short_name(folder.resolve().name), folder=folder)
        if not bare or short_name(wanted) not in PULLABLE:
            raise SetupError(
                f"{folder}: no faster-whisper model; {' and '.join(lacking)} missing there"
            )
    if named is not None:
        return named
    raise SetupError(_not_there(wanted, known))


def best_model(
    models: tuple[AsrModel, ...], *, device: str, language: str | None
) -> AsrModel | None:
    """The best of ``models`` that is sensible on ``device`` for ``language``; None without any."""

    def rank(model: AsrModel) -> tuple[bool, bool, int, str]:
        fits = not model.english_only or language == "en"
        quick = device.startswith("cuda") or model.size <= _LARGEST_FOR_CPU
        return fits, quick, model.size if quick else -model.size, model.name

    if language not in (None, "en"):  # it would make English of it
        models = tuple(model for model in models if not model.english_only)
    return max(models, key=rank, default=None)


def installed_models() -> tuple[AsrModel, ...]:
    """All that are whole: those pulled or imported first, then those of the models folder and of
    the Hugging Face cache; of one name, the first."""
    found: dict[str, AsrModel] = {}
    for name, folder in _candidates():
        if name not in found and not _lacking(folder):
            found[name] = AsrModel(name=name, folder=folder)
    return tuple(found.values())


def models_folder() -> Path:
    """Where models may be put by hand, one folder each."""
    from platformdirs import user_data_path

    return user_data_path("omnitalk", appauthor=False) / "models" / "whisper"


def short_name(name: str) -> str:
    """``base`` of ``whisper-base``, ``faster-whisper-base`` or ``Systran/faster-whisper-base``."""
    name = name.lower().removesuffix("-ct2")
    short = _PREFIX.sub(lambda match: match[1] or "", name) or name
    return _ALIASES.get(short, short)


def _candidates() -> Iterator[tuple[str, Path]]:
    for file in sorted(weights_folder().glob(f"*whisper-*/{_MODEL_FILE}")):
        yield short_name(file.parent.name), file.parent
    for file in sorted(models_folder().glob(f"*/{_MODEL_FILE}")):
        yield short_name(file.parent.name), file.parent
    for file in sorted(cache_folder().glob(f"models--*faster-*whisper*/snapshots/*/{_MODEL_FILE}")):
        repository = file.parents[2].name.removeprefix("models--").replace("--", "/")
        yield short_name(repository), file.parent


def _lacking(folder: Path) -> list[str]:
    """The files of a model that are not in ``folder``."""
    lacking = [name for name in _FILES if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        lacking.append(_VOCABULARIES[0])
    return lacking


def _not_there(wanted: str, known: tuple[AsrModel, ...]) -> str:
    short = short_name(wanted)
    have = f" (installed: {', '.join(model.name for model in known)})" if known else ""
    if short in PULLABLE:
        return (
            f"the speech recognition model {short} is not installed{have}; "
            f"omnitalk weights pull whisper-{short}, or say what is spoken with --ref-text"
        )
    return (
        f"no speech recognition model {wanted}{have}; give one of {', '.join(PULLABLE)}, the "
        "folder of a faster-whisper model, none, or what is spoken with --ref-text"
    )
