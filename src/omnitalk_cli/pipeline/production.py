"""Reference + performance → MP4: vocode, render, mark, mux; rendering and encoding overlap.

A performance that follows a recording keeps that recording as its sound.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from omnitalk_cli.errors import UsageError
from omnitalk_cli.face.codes import EXPRESSION
from omnitalk_cli.media.codecs import CODECS
from omnitalk_cli.media.encode import TimedMark, VideoWriter
from omnitalk_cli.media.ffmpeg import find_ffmpeg
from omnitalk_cli.media.files import check_writable
from omnitalk_cli.media.rates import exact_rate
from omnitalk_cli.pipeline.controls import Controls, control, lens_direction
from omnitalk_cli.pipeline.devices import choose_device, choose_dtype
from omnitalk_cli.pipeline.framing import Frame, Framing, View, frame_of
from omnitalk_cli.pipeline.marking import LAYERS, Marking, choose_identity
from omnitalk_cli.pipeline.synthesis import resample_codes
from omnitalk_cli.pipeline.workshop import Workshop
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.provenance.labels import (
    DEFAULT_PROFILE,
    OPENING_SECONDS,
    SYSTEM,
    LabelOptions,
    labels_for,
)
from omnitalk_cli.provenance.visible import Position, VisibleMark
from omnitalk_cli.render.renderers import check_renderer
from omnitalk_cli.speech.loudness import usual_loudness
from omnitalk_cli.speech.vocoder import Vocoder
from omnitalk_cli.speech.vocoders import AUTO, settle_vocoder
from omnitalk_cli.types import MEL_RATE, SAMPLE_RATE, Float, Performance, Reference, Take

_CHUNK_FRAMES = 512


@dataclass(frozen=True, kw_only=True)
class ProductionOptions:
    """How the video is made: ``fps`` frames per second; ``view``, ``size`` and ``background`` as in
    ``framing.Frame``; ``head_motion`` … ``look_at_camera`` as in ``controls.Controls``.

    ``visible_mark`` … ``producer`` are as in ``labels.LabelOptions``. ``sign_cert`` and
    ``sign_key`` are PEM files of whoever signs (None: an identity of this user's own);
    ``timestamp_url`` asks a server for the time. ``vocoder`` is a name of ``vocoders.VOCODERS``, a
    file or ``auto`` (``vocoders.choose_vocoder``) and makes the sound of performances that lack it;
    ``dtype`` is the format of its inner layers on a GPU (``auto``: float32, as it is a small part
    of the work). ``renderer`` is a name of
    ``renderers.RENDERERS`` or ``auto``: what suits ``device`` (as in ``devices.choose_device``).
    """

    fps: float = 25.0
    view: View = "face"
    size: int | None = None
    background: str = "keep"
    crf: int = 18
    codec: str = "h264"
    visible_mark: str | None = None
    visible_position: Position = VisibleMark.position
    visible_size: float = VisibleMark.size
    visible_opacity: float = VisibleMark.opacity
    visible_font: str | None = None
    label_profile: str = DEFAULT_PROFILE
    producer: str = SYSTEM
    sign_cert: Path | None = None
    sign_key: Path | None = None
    timestamp_url: str | None = None
    vocoder: str = AUTO
    dtype: str = "auto"
    renderer: str = "auto"
    device: str = "auto"
    head_motion: float = 1.0
    expression: float = 1.0
    gaze: float = 1.0
    blink_rate: float = 1.0
    look_at_camera: float = 0.0
    ffmpeg: str | None = None
    overwrite: bool = False
    workers: int = field(default_factory=lambda: min(4, os.cpu_count() or 1))

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise UsageError(f"codec {self.codec!r} is not known; one of {', '.join(CODECS)}")
        check_renderer(self.renderer)
        # They check their parts when they are made.
        assert self.frame and self.controls and self.labels

    @property
    def frame(self) -> Frame:
        """What the video shows."""
        return frame_of(view=self.view, size=self.size, background=self.background)

    @property
    def labels(self) -> LabelOptions:
        """What the video says of itself, in the picture and in the metadata."""
        return LabelOptions(
            profile=self.label_profile, text=self.visible_mark, position=self.visible_position,
            size=self.visible_size, opacity=self.visible_opacity, producer=self.producer,
            font=Path(self.visible_font) if self.visible_font else None,
        )  # fmt: skip

    @property
    def controls(self) -> Controls:
        """How the motion is changed."""
        return Controls(
            head_motion=self.head_motion, expression=self.expression, gaze=self.gaze,
            blink_rate=self.blink_rate, look_at_camera=self.look_at_camera,
        )  # fmt: skip


@contextmanager
def preparing(
    reference: Reference, options: ProductionOptions, workshop: Workshop
) -> Iterator[None]:
    """Makes the bank that ``produce`` will ask ``workshop`` for, in a thread of its own, while the
    body makes the performance."""
    with ThreadPoolExecutor(1, thread_name_prefix="bank") as pool:
        # What goes wrong is not asked for here: ``produce`` tries again and says it in its place.
        pool.submit(
            workshop.bank,
            reference,
            renderer=options.renderer,
            device=choose_device(options.device),
            workers=options.workers,
        )
        yield


def produce(
    reference: Reference,
    performance: Performance,
    output: Path,
    options: ProductionOptions,
    *,
    clip: Path | None = None,
    workshop: Workshop | None = None,
    progress: Progress = silent,
    notes: Callable[[str], None] = lambda line: None,
) -> Take:
    """Renders ``performance`` with the reference's looks into ``output`` (MP4).

    Where the performance has its sound, that is put under the pictures as it is, with the audio
    mark; otherwise the vocoder makes it. ``clip`` is the file that the reference is from, whose own
    credentials are kept. ``workshop`` keeps vocoder and bank for the next video.

    The file appears whole or not at all. Raises UsageError when it exists and may not be
    overwritten, InputError when the reference lacks what the view needs, SetupError when ffmpeg,
    the vocoder's weights, the device or a place for keys and ledger are missing, WorkError when
    writing fails.
    """
    workshop = workshop or Workshop()
    check_writable(output, overwrite=options.overwrite)
    ffmpeg = find_ffmpeg(options.ffmpeg)
    device = choose_device(options.device)
    rate = exact_rate(options.fps)
    framing = Framing(reference, options.frame, fps=float(rate))
    timings: dict[str, float] = {}
    settings = dict(performance.settings)
    begin = time.monotonic()
    audio = performance.sound
    if audio is None:
        vocoder = workshop.vocoder(
            settle_vocoder(options.vocoder, notes=notes), mel="vocos", device=device,
            dtype=choose_dtype("float32" if options.dtype == "auto" else options.dtype, device),
        )  # fmt: skip
        audio = vocode(performance, vocoder, progress=progress)
        settings["vocoder"] = vocoder.name
    elif options.vocoder != AUTO:
        notes(f"the speech is there already; --vocoder {options.vocoder} has nothing to do")
    timings["vocoder"] = time.monotonic() - begin

    begin = time.monotonic()
    renderer, bank = workshop.bank(
        reference, renderer=options.renderer, device=device, workers=options.workers,
        progress=progress,
    )  # fmt: skip
    timings["prepare"] = time.monotonic() - begin

    lens = None
    if options.look_at_camera > 0:
        lens = lens_direction(reference.codes)
    codes = video_codes(performance, rate, options, lens=lens)
    marking = Marking(
        output,
        performance,
        reference_sha256=reference.source_sha256,
        # Pasted into what was filmed, or spoken by a human, it is not all generated.
        composite=options.view == "full" or "audio" in performance.settings,
        identity=choose_identity(options.sign_cert, options.sign_key),
        provider=options.producer,
        clip=clip,
        timestamp_url=options.timestamp_url,
    )
    labels = labels_for(options.labels, identifier=marking.name)
    if labels.duty:
        notes(labels.duty)
    shown = [
        TimedMark(mark=mark, seconds=seconds)
        for mark, seconds in ((labels.persistent, None), (labels.opening, OPENING_SECONDS))
        if mark is not None
    ]
    begin = time.monotonic()
    with VideoWriter(
        output,
        width=framing.width,
        height=framing.height,
        fps=rate,
        audio=marking.sound(audio),
        audio_rate=SAMPLE_RATE,
        frames=len(codes),
        crf=options.crf,
        codec=options.codec,
        labels=shown,
        metadata=labels.metadata,
        overwrite=options.overwrite,
        ffmpeg_path=ffmpeg,
        finish=marking.sign,
    ) as writer:
        frames = framing.frames(renderer, bank, codes, fps=float(rate))
        for number, frame in enumerate(marking.pictures(frames)):
            writer.write(frame)
            if number % 5 == 4:
                progress("rendering", number + 1, len(codes))
        progress("rendering", len(codes), len(codes))
    timings["render_encode"] = time.monotonic() - begin
    marking.complete(output, labelled=bool(shown))
    return Take(
        path=output,
        seconds=len(codes) / float(rate),
        width=framing.width,
        height=framing.height,
        fps=float(rate),
        seed=int(performance.settings.get("seed", 0)),
        marks={
            "id": marking.name,
            "visible": labels.persistent.text if labels.persistent else None,
            "opening": labels.opening.text if labels.opening else None,
            "profile": options.label_profile,
            "metadata": True,
            **dict.fromkeys(LAYERS, True),
        },
        timings=timings,
        settings=settings,
    )


def vocode(performance: Performance, vocoder: Vocoder, *, progress: Progress = silent) -> Float:
    """Speech ``[S]`` at 24 kHz of a performance, at a usual loudness."""
    mel = torch.from_numpy(np.ascontiguousarray(performance.mel, dtype=np.float32))
    pieces = []
    for piece in vocoder.decode_stream(mel.split(_CHUNK_FRAMES)):
        pieces.append(piece.float().cpu().numpy())
        progress("vocoder", sum(map(len, pieces)) / SAMPLE_RATE, performance.seconds)
    return usual_loudness(np.concatenate(pieces))


def video_codes(
    performance: Performance,
    rate: Fraction,
    options: ProductionOptions,
    *,
    lens: Float | None = None,
) -> Float:
    """Codes ``[N, 61]`` at the video rate under the user's controls.

    A frame shows the mean over its own duration: reading single mel frames would alias the fast
    movements of lips and lids. ``lens`` [2] is needed to look at the camera.
    """
    seed = int(performance.settings.get("seed", 0))
    steered = control(performance.codes, options.controls, rate=MEL_RATE, seed=seed, lens=lens)
    count = max(1, round(performance.seconds * rate))
    if float(rate) < MEL_RATE:
        width = MEL_RATE / float(rate)
        total = np.concatenate([np.zeros((1, 61)), np.cumsum(steered, axis=0, dtype=np.float64)])
        frames = np.arange(len(total), dtype=float)
        centres = np.arange(count) * width
        low = np.clip(centres - width / 2, 0, len(total) - 2)
        high = np.clip(centres + width / 2, low + 1, len(total) - 1)
        codes = np.stack(
            [
                (np.interp(high, frames, column) - np.interp(low, frames, column)) / (high - low)
                for column in total.T
            ],
            axis=1,
        )
    else:
        codes = resample_codes(steered, MEL_RATE, np.arange(count) / float(rate))
    codes[:, EXPRESSION] = codes[:, EXPRESSION].clip(0.0, 1.0)
    return codes.astype(np.float32)
