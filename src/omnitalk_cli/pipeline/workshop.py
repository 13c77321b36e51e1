"""What the making of videos shares: loaded models, vocoders, references, and their banks.

For one video it is only where these come from. Over many videos each is made once and kept as long
as there is room.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.render.renderers import make_renderer

if TYPE_CHECKING:
    import torch

    from omnitalk_cli.dit.accelerate import Runner
    from omnitalk_cli.pipeline.models import ChosenModel
    from omnitalk_cli.pipeline.prompted_model import PromptedModel
    from omnitalk_cli.pipeline.running import Compile
    from omnitalk_cli.pipeline.synthesis import SpeechMotionModel
    from omnitalk_cli.render.base import Renderer
    from omnitalk_cli.speech.mel import MelKind
    from omnitalk_cli.speech.vocoder import Vocoder
    from omnitalk_cli.types import Reference

T = TypeVar("T")


class Kept(Generic[T]):
    """The last ``most`` things that were asked for, by key; what several threads ask for at the
    same time is made once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: OrderedDict[Hashable, Future[T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing of ``key``, made now if it is not there; whatever ``make`` raises is raised."""
        with self._lock:
            thing = self._things.get(key)
            mine = thing is None
            if thing is None:
                thing = self._things[key] = Future()
                while len(self._things) > self._most:
                    self._things.popitem(last=False)
            else:
                self._things.move_to_end(key)
        if mine:
            try:
                thing.set_result(make())
            except BaseException as error:
                with self._lock:
                    if self._things.get(key) is thing:
                        del self._things[key]
                thing.set_exception(error)
        return thing.result()

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._things.clear()


class Workshop:
    """Where models, references and banks come from; several threads may use one.

    ``references`` and ``banks`` are how many of each are kept (about 20 and 150 MB apiece).
    """

    def __init__(self, *, references: int = 1, banks: int = 1) -> None:
        self._models: Kept[SpeechMotionModel] = Kept(1)
        self._prompted: Kept[PromptedModel] = Kept(1)
        self._runners: Kept[Runner] = Kept(1)
        self._vocoders: Kept[Vocoder] = Kept(1)
        self._references: Kept[tuple[Reference, bool]] = Kept(references)
        self._banks: Kept[tuple[Reference, Renderer[Any], Any]] = Kept(banks)

    def clear(self) -> None:
        """Let go of everything, for a device that ran out of memory."""
        for kept in (
            self._models, self._prompted, self._runners, self._vocoders, self._references,
            self._banks,
        ):  # fmt: skip
            kept.clear()

    def model(self, chosen: ChosenModel, *, device: str, dtype: torch.dtype) -> SpeechMotionModel:
        """The joint model ``chosen``; raises what ``load_model`` raises."""
        from omnitalk_cli.pipeline.synthesis import load_model

        return self._models.get(
            (chosen.path, device, dtype),
            lambda: load_model(str(chosen.path), device=device, dtype=dtype),
        )

    def runner(
        self, chosen: ChosenModel, *, device: str, dtype: torch.dtype, choice: Compile
    ) -> Runner:
        """What runs ``chosen`` as ``choice`` says; what it compiled and recorded stays with it."""
        from omnitalk_cli.pipeline.running import make_runner

        return self._runners.get((chosen.path, device, dtype, choice), lambda: make_runner(choice))

    def prompted(self, chosen: ChosenModel, *, device: str, dtype: torch.dtype) -> PromptedModel:
        """The prompted model ``chosen``; raises what ``load_prompted`` raises."""
        from omnitalk_cli.pipeline.prompted_model import load_prompted

        return self._prompted.get(
            (chosen.path, device, dtype),
            lambda: load_prompted(chosen.path, name=chosen.name, device=device, dtype=dtype),
        )

    def vocoder(self, name: str, *, mel: MelKind, device: str, dtype: torch.dtype) -> Vocoder:
        """The vocoder ``name`` for ``mel``; raises what ``open_vocoder`` raises."""
        from omnitalk_cli.speech.vocoders import open_vocoder

        return self._vocoders.get(
            (name, mel, device, dtype),
            lambda: open_vocoder(name, mel=mel, device=device, dtype=dtype),
        )

    def reference(
        self,
        path: Path,
        *,
        options: dict[str, Any],
        cache_dir: Path | None,
        progress: Progress = silent,
        notes: Callable[[str], None] = lambda line: None,
    ) -> tuple[Reference, bool]:
        """As ``resolve_reference``; ``options`` are fields of ``ExtractOptions`` that were given.

        Kept by the file's name and time: a clip that changes meanwhile is looked at anew.
        """
        from omnitalk_cli.pipeline.reference import ExtractOptions, resolve_reference

        found = path.stat()
        key = (path, found.st_size, found.st_mtime_ns, tuple(sorted(options.items())))
        return self._references.get(
            key,
            lambda: resolve_reference(
                path, options=ExtractOptions(**options), cache_dir=cache_dir, progress=progress,
                notes=notes,
            ),
        )  # fmt: skip

    def bank(
        self,
        reference: Reference,
        *,
        renderer: str,
        device: str,
        workers: int,
        progress: Progress = silent,
    ) -> tuple[Renderer[Any], Any]:
        """The renderer ``renderer`` and its bank of ``reference``."""

        def make() -> tuple[Reference, Renderer[Any], Any]:
            drawer = make_renderer(renderer, device=device, workers=workers)
            # With the reference, which therefore lives as long as its number is a key.
            return reference, drawer, drawer.prepare(reference, progress=progress)

        key = (id(reference), renderer, device, workers)
        _, drawer, bank = self._banks.get(key, make)
        return drawer, bank
