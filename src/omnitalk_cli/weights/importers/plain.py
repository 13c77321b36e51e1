"""Weights that are used as they are: copied after a look at what they are."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from omnitalk_cli.errors import InputError


def copy_ctranslate2(main: Path, companions: Mapping[str, Path], target: Path) -> None:
    """A faster-whisper folder: ``model.bin`` as ``target``, its companions beside it.

    Raises InputError unless ``main`` is a Whisper model of CTranslate2: after the version of the
    format (uint32) comes the name of the kind of model, with its length (uint16) before it.
    """
    with main.open("rb") as file:
        head = file.read(64)
    length = int.from_bytes(head[4:6], "little")
    if head[6 : 6 + length].rstrip(b"\0") != b"WhisperSpec":
        raise InputError(
            f"{main}: is not a Whisper model in the format of CTranslate2; take the model.bin of "
            "a faster-whisper repository"
        )
    _copy(main, companions, target)


def copy_task(main: Path, companions: Mapping[str, Path], target: Path) -> None:
    """A MediaPipe ``.task`` file: a zip archive of TensorFlow Lite models. Raises InputError."""
    try:
        with zipfile.ZipFile(main) as archive:
            models = [name for name in archive.namelist() if name.endswith(".tflite")]
    except zipfile.BadZipFile as error:
        raise InputError(f"{main}: is not a MediaPipe .task file ({error})") from error
    if not models:
        raise InputError(f"{main}: is a zip file without a TensorFlow Lite model")
    _copy(main, companions, target)


def _copy(main: Path, companions: Mapping[str, Path], target: Path) -> None:
    for name, path in companions.items():
        shutil.copyfile(path, target.with_name(name))
    shutil.copyfile(main, target)
