"""Which vocoders there are, which mel each reads, and how one is chosen and opened.

``source`` needs no weights, ``vocoder`` is the embedded network, ``vocos`` and ``bigvgan`` are
public weights; a file of weights that an importer made says itself what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from omnitalk_cli.errors import InputError, SetupError, UsageError
from omnitalk_cli.weights import store
from omnitalk_cli.weights.catalog import entry

if TYPE_CHECKING:
    import torch

    from omnitalk_cli.speech.mel import MelKind
    from omnitalk_cli.speech.vocoder import Vocoder

AUTO = "auto"
# The mel that each reads.
VOCODERS: dict[str, MelKind] = {
    "source": "vocos", "vocos": "vocos", "vocoder": "vocos", "bigvgan": "bigvgan",
}  # fmt: skip
_MEL_OF_FORMAT: dict[str, MelKind] = {
    "omnitalk-vocoder/1": "vocos", "omnitalk-bigvgan/1": "bigvgan",
}  # fmt: skip
_CHECKPOINTS = (".bin", ".pt", ".pth", ".ckpt")


def choose_vocoder(
    mel: MelKind, *, joint: bool, notes: Callable[[str], None] = lambda line: None
) -> str:
    """The vocoder that ``auto`` means for a model that speaks ``mel``.

    ``joint``: the embedded model of speech and motion, whose mels ``source`` makes the best sound
    of. Otherwise the public network for that mel; for ``vocos`` the embedded one in its place, of
    which ``notes`` hears. Raises SetupError when nothing installed reads ``mel``.
    """
    if mel == "bigvgan":
        find_vocoder("bigvgan")
        return "bigvgan"
    if joint:
        return "source"
    try:
        find_vocoder("vocos")
    except SetupError:
        notes(
            "the sound is made by the small embedded vocoder; "
            "`omnitalk weights pull vocos` gets the one that this model was made for"
        )
        return "vocoder"
    return "vocos"


def settle_vocoder(
    name: str,
    *,
    mel: MelKind = "vocos",
    joint: bool = True,
    notes: Callable[[str], None] = lambda line: None,
) -> str:
    """``name`` when it is there and reads ``mel``, for ``auto`` the one chosen. No network is read.

    Raises UsageError for one that reads another mel, SetupError for one that is not installed,
    InputError for a file that is no vocoder.
    """
    if name == AUTO:
        return choose_vocoder(mel, joint=joint, notes=notes)
    read = mel_of(name)
    if read != mel:
        fit = ", ".join(known for known, its in VOCODERS.items() if its == mel)
        raise UsageError(
            f"--vocoder {name} reads the {read} mel, but this model speaks the {mel} mel; "
            f"use {AUTO}, {fit} or a file of that kind"
        )
    find_vocoder(name)  # last: nobody should fetch one that does not fit
    return name


def mel_of(name: str) -> MelKind:
    """The mel that the vocoder ``name`` (or file) reads. Raises as ``find_vocoder`` does."""
    if name in VOCODERS:
        return VOCODERS[name]
    return _MEL_OF_FORMAT[_format(name)]


def find_vocoder(name: str) -> Path | None:
    """The file of weights of the vocoder ``name``; None for ``source``, which has none.

    Raises SetupError when it is not installed, InputError for weights of another kind and for a
    checkpoint in its own layout.
    """
    if name == "source":
        return None
    known = entry(name)
    if known is not None and known.job != "vocoder":
        raise InputError(
            f"--vocoder {name}: is no vocoder ({known.about}); use {AUTO}, {', '.join(VOCODERS)} "
            "or a file made by `omnitalk weights import`"
        )
    path = store.find_weights(name)
    if path.suffix.lower() in _CHECKPOINTS:
        kind = "bigvgan" if "bigvgan" in path.name else "vocos"
        raise InputError(
            f"{path}: is a checkpoint in its own layout; "
            f"omnitalk weights import {path} --as {kind} makes it usable"
        )
    return path


def open_vocoder(
    name: str,
    *,
    mel: MelKind = "vocos",
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Vocoder:
    """The vocoder ``name`` (of ``VOCODERS``, of the catalogue or a file), ready for ``mel``.

    Networks run on ``device``; ``dtype`` (None: float32) is that of their inner layers and holds
    on a GPU only. ``source`` runs where its mel is. Raises what ``settle_vocoder`` raises, and
    SetupError for a damaged file.
    """
    import torch

    name = settle_vocoder(name, mel=mel)
    path = find_vocoder(name)
    if path is None:
        from omnitalk_cli.speech.source import SourceVocoder

        return SourceVocoder()
    inner = torch.float32 if dtype is None else dtype
    model: Vocoder
    if _MEL_OF_FORMAT[_format(name)] == "bigvgan":
        from omnitalk_cli.speech.bigvgan import load_bigvgan

        bigvgan = load_bigvgan(path, device=device, dtype=inner)
        bigvgan.name, model = name, bigvgan
    else:
        from omnitalk_cli.speech.vocoder import load_vocoder

        vocos = load_vocoder(path, device=device, dtype=inner)
        vocos.name, model = name, vocos
    return model


def _format(name: str) -> str:
    """What the file of ``name`` says that it is."""
    path = find_vocoder(name)
    assert path is not None
    said = store.read_header(path).metadata.get("format", "")
    if said not in _MEL_OF_FORMAT:
        raise InputError(
            f"{path}: is no vocoder (its format is {said or 'not stated'}); "
            "--vocoder takes files made by `omnitalk weights import`"
        )
    return said
