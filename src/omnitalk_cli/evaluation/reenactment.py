"""How well a renderer redraws a person: the first half of a clip draws the second half.

``omnitalk bench render CLIP...`` prints it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import InputError
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.render.base import Renderer
from omnitalk_cli.render.camera import find_camera, held
from omnitalk_cli.render.mesh import MeshRenderer
from omnitalk_cli.render.topology import LIPS
from omnitalk_cli.types import Float, Reference

MOUTH_MARGIN = 0.3
FEWEST_FRAMES = 8


@dataclass(frozen=True, kw_only=True)
class Reenactment:
    """Scores over the target frames of one clip.

    ``face_psnr``: PSNR in dB (8 bit RGB, mean of the per-frame values) in the smallest upright box
    around the target's tracked landmarks. ``mouth_psnr``: likewise in the box around the 40 lip
    points, widened by 0.3 of its width and height on every side. ``flicker``: mean absolute
    difference of successive drawn frames in the later frame's face box, grey levels of 255;
    ``real_flicker``: the same of the filmed frames, so that motion itself can be told apart.
    ``whole_psnr``: likewise in the whole picture; ``body_psnr``: of the person below the chin
    (NaN where no frame shows that).
    ``ssim``: structural similarity of the luminance in the face box (Gaussian window of 1.5).
    ``sharpness``: variance of the Laplacian in the face box, drawn by filmed.
    ``fps``: frames per CPU second of drawing, ``wall_fps`` per second; ``prepare_seconds``: CPU
    seconds for the bank.
    """

    name: str
    frames: int
    face_psnr: float
    mouth_psnr: float
    whole_psnr: float
    body_psnr: float
    ssim: float
    sharpness: float
    flicker: float
    real_flicker: float
    fps: float
    wall_fps: float
    prepare_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            key: (round(value, 3) if np.isfinite(value) else None)
            if isinstance(value, float)
            else value
            for key, value in asdict(self).items()
        }


def part_of(reference: Reference, frames: slice) -> Reference:
    """A reference with only some of its pictures and codes (its sound stays whole)."""
    return replace(
        reference,
        codes=reference.codes[frames],
        landmarks=reference.landmarks[frames],
        frames=reference.frames[frames],
        mattes=reference.mattes[frames],
        sharpness=reference.sharpness[frames],
    )


def reenact(
    reference: Reference, *, renderer: Renderer[Any] | None = None, progress: Progress = silent
) -> Reenactment:
    """Draw the second half of ``reference`` from the pictures of its first half, and compare.

    Where the camera itself moves, its motion is taken out of the whole clip first, as the renderer
    takes it out of what it shows. The codes of both halves come from one fit with one personal
    neutral. The default renderer is the embedded one with a single worker and without pose limits.
    Raises ``InputError`` for fewer than 8 frames.
    """
    half = len(reference.frames) // 2
    if half < FEWEST_FRAMES // 2:
        raise InputError(f"{reference.source_name} is too short to be split: use a longer clip")
    reference = without_camera(reference)
    renderer = renderer or MeshRenderer(limit=False)
    started = time.process_time()
    bank = renderer.prepare(part_of(reference, slice(0, half)), progress=progress)
    prepared = time.process_time() - started

    target = part_of(reference, slice(half, None))
    count = len(target.frames)
    scores: list[tuple[float, ...]] = []
    flickers: list[tuple[float, float]] = []
    before: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
    cpu, wall = time.process_time(), time.perf_counter()
    pictures = []  # all of them before the first is scored: workers draw ahead meanwhile
    for drawn in renderer.frames(bank, target.codes, fps=reference.fps):
        pictures.append(drawn)
        progress("draw", len(pictures), count)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    for index, drawn in enumerate(pictures):
        filmed = _picture(target.frames[index])
        points = target.landmarks[index, :, :2]
        face = box(points, 0.0, filmed.shape[:2])
        mouth = box(points[LIPS], MOUTH_MARGIN, filmed.shape[:2])
        grey = [
            np.asarray(cv2.cvtColor(one[face], cv2.COLOR_RGB2GRAY), np.uint8)
            for one in (drawn, filmed)
        ]
        scores.append(
            (psnr(drawn[face], filmed[face]), psnr(drawn[mouth], filmed[mouth]), ssim(*grey),
             psnr(drawn, filmed), body_psnr(drawn, filmed, points, _grey(target.mattes[index])),
             *(float(cv2.Laplacian(one, cv2.CV_32F).var()) for one in grey))
        )  # fmt: skip
        if before is not None:
            flickers.append(
                (_difference(drawn[face], before[0][face]),
                 _difference(filmed[face], before[1][face]))
            )  # fmt: skip
        before = (drawn, filmed)
        progress("compare", index + 1, count)
    face_psnr, mouth_psnr, similar, whole, _, fine, real_fine = np.mean(scores, axis=0)
    bodies = [score[4] for score in scores if np.isfinite(score[4])]
    flicker, real_flicker = np.mean(flickers, axis=0)
    return Reenactment(
        name=reference.source_name,
        frames=count,
        face_psnr=float(face_psnr),
        mouth_psnr=float(mouth_psnr),
        whole_psnr=float(whole),
        body_psnr=float(np.mean(bodies)) if bodies else float("nan"),
        ssim=float(similar),
        sharpness=float(fine / max(real_fine, 1e-6)),
        flicker=float(flicker),
        real_flicker=float(real_flicker),
        fps=count / max(cpu, 1e-9),
        wall_fps=count / max(wall, 1e-9),
        prepare_seconds=prepared,
    )


def mean(results: Sequence[Reenactment]) -> Reenactment:
    """The mean of every score, frames added up."""
    scores = {
        field.name: float(np.mean([getattr(one, field.name) for one in results]))
        for field in fields(Reenactment)
        if field.name not in ("name", "frames")
    }
    return Reenactment(name="mean", frames=sum(one.frames for one in results), **scores)


def without_camera(reference: Reference) -> Reference:
    """The reference as filmed by a camera that stands still; itself where the camera does, or goes
    along with the person. Pictures are coded anew."""
    frames = [_picture(data) for data in reference.frames]
    side = (reference.frame_size, reference.frame_size)
    mattes = [np.asarray(cv2.resize(_grey(data), side), np.uint8) for data in reference.mattes]
    camera = find_camera(frames, mattes)
    if camera is None or not camera.calms(reference.codes, reference.pose_frame):
        return reference
    clip = held(frames, mattes, camera, range(len(frames)))
    return replace(
        reference,
        codes=camera.move_codes(reference.codes, reference.pose_frame),
        landmarks=camera.move_points(reference.landmarks),
        frames=tuple(_coded(cv2.cvtColor(one, cv2.COLOR_RGB2BGR)) for one in clip.frames),
        mattes=tuple(map(_coded, map(cv2.min, clip.mattes, clip.known))),
    )


def box(points: Float, margin: float, shape: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns of the box around ``points`` [P,2], widened by ``margin`` of its sides."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = margin * (high - low)
    limit = np.array([shape[1], shape[0]])
    left, top = np.clip(np.round(low - room), 0, limit - 2).astype(int)
    right, bottom = np.clip(np.round(high + room), 2, limit).astype(int)
    return slice(top, max(bottom, top + 2)), slice(left, max(right, left + 2))


def psnr(drawn: NDArray[np.uint8], filmed: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures, dB."""
    error = np.mean((drawn.astype(np.float32) - filmed) ** 2)
    return float(10 * np.log10(255**2 / max(float(error), 1e-6)))


def body_psnr(
    drawn: NDArray[np.uint8], filmed: NDArray[np.uint8], points: Float, matte: NDArray[np.uint8]
) -> float:
    """PSNR in dB of the person below the lowest of the landmarks ``points`` [P,2]; ``matte``
    [s,s] of the filmed picture. NaN for less than a hundredth of the picture."""
    matte = np.asarray(cv2.resize(matte, filmed.shape[1::-1]), np.uint8)
    body = matte > 127
    body[: max(0, int(points[:, 1].max()))] = False
    return psnr(drawn[body], filmed[body]) if body.mean() >= 0.01 else float("nan")


def ssim(drawn: NDArray[np.uint8], filmed: NDArray[np.uint8]) -> float:
    """Mean structural similarity of two grey pictures (Wang et al. 2004)."""

    def smooth(values: Float) -> Float:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float32)

    x, y = drawn.astype(np.float32), filmed.astype(np.float32)
    mean_x, mean_y = smooth(x), smooth(y)
    spread_x, spread_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
    shared = smooth(x * y) - mean_x * mean_y
    flat, steep = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_x * mean_y + flat) * (2 * shared + steep)
    return float((above / ((mean_x**2 + mean_y**2 + flat) * (spread_x + spread_y + steep))).mean())


def table(results: Iterable[Reenactment]) -> str:
    """The results as plain text, one line per clip."""
    lines = [
        f"{'clip':28s} {'frames':>6s} {'face dB':>8s} {'mouth dB':>8s} {'whole':>6s} {'body':>6s} "
        f"{'ssim':>6s} {'sharp':>6s} "
        f"{'flicker':>8s} {'(real)':>7s} {'fps/core':>8s} {'bank s':>7s}"
    ]
    lines += [
        f"{one.name:28s} {one.frames:6d} {one.face_psnr:8.2f} {one.mouth_psnr:8.2f} "
        f"{one.whole_psnr:6.2f} {one.body_psnr:6.2f} "
        f"{one.ssim:6.3f} {one.sharpness:6.2f} "
        f"{one.flicker:8.2f} {one.real_flicker:7.2f} {one.fps:8.1f} {one.prepare_seconds:7.2f}"
        for one in results
    ]
    return "\n".join(lines)


def _difference(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    return float(np.abs(left.astype(np.int16) - right).mean())


def _picture(data: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _grey(data: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return np.asarray(picture, np.uint8)


def _coded(picture: NDArray[Any]) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 97])[1].tobytes()


def reference_of(path: Path) -> Reference:
    """Features from a file of them, or extracted from a clip."""
    from omnitalk_cli.pipeline.reference import ExtractOptions, extract_reference
    from omnitalk_cli.pipeline.reference_store import load_reference

    if path.suffix == ".safetensors":
        return load_reference(path)
    return extract_reference(path, options=ExtractOptions(ref_text=""))
