"""One row of a table → its video. The same function makes rows in a worker process and in an actor
of a cluster; it prints nothing, asks nothing and raises nothing."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.errors import OmnitalkError, UsageError
from omnitalk_cli.pipeline.models import AUTO
from omnitalk_cli.pipeline.workshop import Workshop
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.types import Performance

Notes = Callable[[str], None]

# By stage, the options of ``generate`` that its settings are made of; the rest is named in _parts.
_REFERENCE = (
    "ref_text", "ref_start", "ref_seconds", "ref_audio", "face", "asr_model", "tracker", "size",
)  # fmt: skip
_SPEECH = (
    "steps", "cfg_text", "cfg_audio", "cfg_video", "cfg_face", "cfg_interval", "schedule", "solver",
    "speed", "duration", "seed",
)  # fmt: skip
_APART = ("model", "dtype", "compile", "lang", "cache")


@dataclass(frozen=True, kw_only=True)
class MakerSettings:
    """What holds for all rows of a run: the ``device``, ``threads`` for drawing, ``cache_dir`` for
    features (None: keep none), and the ``ffmpeg`` that was asked for.

    ``references`` and ``banks``: how many are kept in memory.
    """

    device: str = "auto"
    threads: int = 1
    cache_dir: Path | None = None
    ffmpeg: str | None = None
    references: int = 4
    banks: int = 3


@dataclass(frozen=True, kw_only=True)
class Made:
    """How a row ended: ``exit_code`` 0 and the facts of its video, or why there is none."""

    exit_code: int = 0
    message: str = ""
    mark_id: str = ""
    performance_sha256: str = ""
    seconds: float = 0.0
    timings: dict[str, float] | None = None


class RowMaker:
    """Makes rows one after the other; models, references and banks are kept between them."""

    def __init__(self, settings: MakerSettings) -> None:
        self._settings = settings
        self._workshop = Workshop(references=settings.references, banks=settings.banks)

    def prepare(self) -> None:
        """Load what every row needs. Arithmetic takes one thread, however many rows are made at
        once: with another number its sums round differently, and with them the performance."""
        import cv2
        import torch
        from threadpoolctl import threadpool_limits

        torch.set_num_threads(1)
        threadpool_limits(1, user_api="blas")
        cv2.setNumThreads(self._settings.threads)

    def make(self, job: Job, *, progress: Progress = silent, notes: Notes = lambda x: None) -> Made:
        """The row's video at ``job.output``, over an older one. Whatever goes wrong is in the
        answer; only interrupts are raised."""
        try:
            return self._make(job, progress, notes)
        except OmnitalkError as error:
            return Made(exit_code=error.exit_code, message=_line(error))
        except MemoryError:
            self._workshop.clear()
            return Made(exit_code=1, message="not enough memory; try a shorter text or --size")
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return Made(exit_code=1, message=f"{where}{(error.strerror or str(error)).lower()}")
        except Exception as error:
            if _out_of_memory(error):
                return self._again_alone(job, progress, notes)
            return Made(exit_code=1, message=f"unexpected {type(error).__name__}: {_line(error)}")

    def _again_alone(self, job: Job, progress: Progress, notes: Notes) -> Made:
        """Once more on a device that holds nothing else."""
        import torch

        self._workshop.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        notes("the device ran out of memory; trying this row alone")
        try:
            return self._make(job, progress, notes)
        except Exception as error:
            self._workshop.clear()
            if not _out_of_memory(error):
                return Made(exit_code=1, message=f"{type(error).__name__}: {_line(error)}")
            return Made(
                exit_code=1,
                message="the device has not enough memory for this row; use a shorter text, a "
                "smaller --size or --device cpu",
            )

    def _make(self, job: Job, progress: Progress, notes: Notes) -> Made:
        from omnitalk_cli.pipeline import driven, performing, production, request
        from omnitalk_cli.pipeline.script import read_script
        from omnitalk_cli.pipeline.settings import make_folder

        begun = time.monotonic()
        given = {name: value for name, value in job.options.items() if value is not None}
        extraction = request.reference_options(
            job.ref,
            **{name: given.get(name) for name in _REFERENCE},
            device=self._settings.device,
        )
        if job.ref.suffix == request.REFERENCE_SUFFIX and extraction:
            raise UsageError(f"{job.ref}: holds finished features; options for the clip are given")
        script = recording = None
        if job.audio is not None:
            recording = driven.hear(job.audio, notes=notes)
        else:
            said = job.text_file if job.text is None else job.text
            assert said is not None
            script = read_script(said, language=given.get("lang", "auto"))
        settings = request.speech_settings(
            model=given.get("model", AUTO),
            device=self._settings.device,
            dtype=given.get("dtype", "auto"),
            language=script.language if script else None,
            vocoder=given.get("vocoder"),
            options={name: given[name] for name in _SPEECH if name in given},
            compile=given.get("compile", "auto"),
            many=True,
        )
        apart = {*_REFERENCE, *_SPEECH, *_APART} - {"size"}
        if settings.prompted is not None:
            apart.add("vocoder")  # it speaks; the video takes its sound as it is
        production_options = request.video_options(
            overwrite=True,
            device=settings.device,
            dtype=given.get("dtype", "auto"),
            options={
                "workers": self._settings.threads,
                **request.given(ffmpeg=self._settings.ffmpeg),
                **{name: value for name, value in given.items() if name not in apart},
            },
        )
        timings: dict[str, float] = {}
        reference, _ = self._workshop.reference(
            job.ref, options=extraction,
            cache_dir=self._settings.cache_dir if given.get("cache", True) else None,
            progress=progress, notes=notes,
        )  # fmt: skip
        request.check_frame(reference, production_options)
        timings["reference"] = time.monotonic() - begun

        extracted = time.monotonic()
        spoken = recording or script
        assert spoken is not None
        performance = performing.perform(
            reference, spoken, settings, self._workshop, progress=progress, notes=notes
        )
        timings["synthesis"] = time.monotonic() - extracted

        make_folder(job.output)
        take = production.produce(
            reference, performance, job.output, production_options,
            clip=job.ref if job.ref.suffix != request.REFERENCE_SUFFIX else None,
            workshop=self._workshop,
            progress=progress, notes=notes,
        )  # fmt: skip
        timings |= take.timings
        timings["total"] = time.monotonic() - begun
        return Made(
            mark_id=str(take.marks["id"]),
            performance_sha256=_performance_hash(performance),
            seconds=round(take.seconds, 3),
            timings={name: round(value, 3) for name, value in timings.items()},
        )


def _performance_hash(performance: Performance) -> str:
    """SHA-256 of mel and codes, float32 as they are in memory of little-endian machines."""
    digest = hashlib.sha256()
    for array in (performance.mel, performance.codes):
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()


def _out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def usual_threads(workers: int) -> int:
    """How many threads each of ``workers`` rows at once gets, so that all cores are used."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(4, (cores or 1) // workers))
