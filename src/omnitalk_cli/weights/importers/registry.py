"""The importers by name. Their modules are loaded when they are used: most of them need torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

Convert = Callable[[Path, Mapping[str, Path], Path], None]

_ROOM = "omnitalk_cli.weights.importers"


@dataclass(frozen=True, kw_only=True)
class Importer:
    """``function`` is ``module:name`` of a ``convert(main, companions, target)``.

    A new ``version`` says that the same checkpoint becomes another file: what older versions made
    is made again by the next pull.
    """

    function: str
    version: int = 1

    def load(self) -> Convert:
        """The function itself."""
        module, _, name = self.function.partition(":")
        convert: Convert = getattr(import_module(module), name)
        return convert


IMPORTERS: dict[str, Importer] = {
    "f5-tts": Importer(function=f"{_ROOM}.f5_tts:convert_v1"),
    "f5-tts-v0": Importer(function=f"{_ROOM}.f5_tts:convert_v0"),
    "f5-tts-bigvgan": Importer(function=f"{_ROOM}.f5_tts:convert_v0_bigvgan"),
    "vocos": Importer(function=f"{_ROOM}.vocos:convert"),
    "bigvgan": Importer(function=f"{_ROOM}.bigvgan:convert"),
    "ctranslate2": Importer(function=f"{_ROOM}.plain:copy_ctranslate2"),
    "task": Importer(function=f"{_ROOM}.plain:copy_task"),
}
