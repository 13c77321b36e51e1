"""Taking the camera's own motion out of a clip, so that the background stands still.

The background alone says how the camera moves: points are followed from picture to picture outside
the person, one similarity per picture brings them home, and a second pass against the home picture
takes out what the chain has gathered. Pictures, mattes and poses are then moved alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.render.plate import CLEAR, plate_frames, unrest
from omnitalk_cli.types import Float, PoseFrame

SIDE = 256  # pixels of the pictures in which points are followed
MARGIN = 9  # pixels of these around the person: hair and matte errors move with the head
MOST_POINTS, FEWEST_POINTS = 100, 10
RETURN = 0.6  # pixels by which a point may miss its start when followed back
AGREE = 1.2  # pixels from the common motion within which a point agrees with it
RESTLESS = 2.5  # grey levels of unrest below which the camera is held to stand still
GAIN = 0.8  # the unrest must fall below this share, or nothing is moved
MOST_LOST = 0.25  # share of pictures without a measurement beyond which nothing is
MOST_DRIFT = 8.0  # pixels that the chain may have gone astray
LARGEST_STRETCH = 0.25  # log scale that is believed
FEATHER = 0.03  # sides: seam where missing borders come from another picture
DONORS = 4

_SEARCH: dict[str, Any] = {"winSize": (15, 15), "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
Points = NDArray[np.complex128]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Per picture the similarity home: pixel z (x + iy) of picture n goes to ``turn[n]·z +
    shift[n]``, [N] complex; pixels of the pictures it was measured for."""

    turn: Points
    shift: Points

    def matrix(self, index: int) -> NDArray[np.float64]:
        """The affine matrix [2,3] of one picture."""
        turn, shift = self.turn[index], self.shift[index]
        return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])

    def move_codes(self, codes: Float, pose_frame: PoseFrame) -> Float:
        """A copy of ``codes`` [N,61] whose faces are where the moved pictures show them."""
        moved = np.array(codes, np.float32)
        scale = pose_frame.scale
        x, y, size, roll = (
            CODE_INDEX[name] for name in ("headX", "headY", "headScale", "headRoll")
        )
        place = pose_frame.origin_x + scale * codes[:, x].astype(np.float64)
        place = place + 1j * (pose_frame.origin_y - scale * codes[:, y])
        home = self.turn * place + self.shift
        moved[:, x] = (home.real - pose_frame.origin_x) / scale
        moved[:, y] = (pose_frame.origin_y - home.imag) / scale
        moved[:, size] += np.log(np.abs(self.turn))
        moved[:, roll] -= np.angle(self.turn)  # pixels count downwards, angles upwards
        return moved

    def move_points(self, points: Float) -> Float:
        """Landmarks [N,P,3] in pixels, moved with their pictures."""
        flat = self.turn[:, None] * (points[..., 0] + 1j * points[..., 1]) + self.shift[:, None]
        depth = points[..., 2] * np.abs(self.turn)[:, None]
        return np.stack([flat.real, flat.imag, depth], axis=-1).astype(np.float32)

    def calms(self, codes: Float, pose_frame: PoseFrame) -> bool:
        """Whether the head of ``codes`` [N,61] moves less without the camera's motion. It moves
        more where the camera goes along with the person."""
        place = slice(CODE_INDEX["headX"], CODE_INDEX["headScale"] + 1)
        after = self.move_codes(codes, pose_frame)[:, place].var(axis=0).sum()
        return bool(after <= codes[:, place].var(axis=0).sum())


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Pictures without their camera's motion: ``frames`` [S,S,3], ``mattes`` [S,S] and
    ``known`` [S,S] (255 where the camera had looked; elsewhere both repeat their borders)."""

    frames: list[NDArray[np.uint8]]
    mattes: list[NDArray[np.uint8]]
    known: list[NDArray[np.uint8]]


def find_camera(
    frames: Sequence[NDArray[np.uint8]], mattes: Sequence[NDArray[np.uint8]], *, workers: int = 1
) -> Camera | None:
    """The camera's motion over pictures [S,S,3] with ``mattes`` [S,S], in order of time.

    None when it stands still, or when its motion cannot be told from the background.
    """
    if len(frames) < 3 or (before := unrest(frames, mattes)) < RESTLESS:
        return None
    camera = follow(frames, mattes, workers=workers)
    if camera is None:
        return None
    some = plate_frames(len(frames))
    clip = held(frames, mattes, camera, some, workers=workers)
    return camera if unrest(clip.frames, clip.mattes, clip.known) < GAIN * before else None


def held(
    frames: Sequence[NDArray[np.uint8]],
    mattes: Sequence[NDArray[np.uint8]],
    camera: Camera,
    indices: Iterable[int],
    *,
    workers: int = 1,
) -> Clip:
    """The pictures ``indices`` as from a camera that stands still."""
    side = (frames[0].shape[1], frames[0].shape[0])
    full = np.full(side[::-1], 255, np.uint8)

    def moved(index: int) -> tuple[NDArray[np.uint8], ...]:
        matrix = camera.matrix(index)
        picture = cv2.warpAffine(
            frames[index], matrix, side, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        matte = cv2.warpAffine(mattes[index], matrix, side, borderMode=cv2.BORDER_REPLICATE)
        known = cv2.warpAffine(full, matrix, side, flags=cv2.INTER_NEAREST)
        return tuple(np.asarray(one, np.uint8) for one in (picture, matte, known))

    with ThreadPoolExecutor(workers) as pool:
        pictures, moved_mattes, known = zip(*pool.map(moved, indices), strict=True)
    return Clip(frames=list(pictures), mattes=list(moved_mattes), known=list(known))


def follow(
    frames: Sequence[NDArray[np.uint8]], mattes: Sequence[NDArray[np.uint8]], *, workers: int = 1
) -> Camera | None:
    """The camera's motion over pictures [S,S,3] in order of time; home is the picture whose view
    is nearest to the middle of all. None when too little background can be followed."""
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * MARGIN + 1, 2 * MARGIN + 1))

    def small(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        picture = cv2.resize(frames[index], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        person = cv2.resize(mattes[index], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        ground = (cv2.dilate(person, kernel) < CLEAR).astype(np.uint8)
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8), ground

    def step(index: int) -> tuple[complex, complex] | None:
        start = _corners(greys[index], grounds[index])
        return _motion(start, start, greys[index], greys[index - 1], grounds[index - 1])

    count = len(frames)
    with ThreadPoolExecutor(workers) as pool:
        greys, grounds = zip(*pool.map(small, range(count)), strict=True)
        steps = list(pool.map(step, range(1, count)))
        if sum(one is None for one in steps) > MOST_LOST * count:
            return None
        turn, shift = np.ones(count, complex), np.zeros(count, complex)
        for index, one in enumerate(steps, start=1):
            more, offset = one or (1.0, 0.0)
            turn[index] = turn[index - 1] * more
            shift[index] = turn[index - 1] * offset + shift[index - 1]
        centre = (SIDE - 1) / 2 * (1 + 1j)
        view = turn * centre + shift
        middle = np.median(view.real) + 1j * np.median(view.imag)
        home = int(np.abs(view - middle).argmin())
        turn, shift = turn / turn[home], (shift - shift[home]) / turn[home]
        turn, shift = _corrected(greys, grounds, home, turn, shift, pool)
    if np.abs(np.log(np.abs(turn))).max() > LARGEST_STRETCH:
        return None
    ratio = frames[0].shape[0] / SIDE
    # Pixel centres: place in the large picture = (place + 0.5) · ratio − 0.5.
    half = 0.5 * (1 + 1j)
    return Camera(turn=turn, shift=(shift + half - turn * half) * ratio - half + turn * half)


def _corrected(
    greys: Sequence[NDArray[np.uint8]],
    grounds: Sequence[NDArray[np.uint8]],
    home: int,
    turn: Points,
    shift: Points,
    pool: ThreadPoolExecutor,
) -> tuple[Points, Points]:
    """The chain's motion, measured once more directly against the home picture."""
    start = _corners(greys[home], grounds[home])
    centre = (SIDE - 1) / 2 * (1 + 1j)

    def away_from_chain(index: int) -> tuple[complex, complex] | None:
        guess = (start - shift[index]) / turn[index]
        back = _motion(start, guess, greys[home], greys[index], grounds[index])
        if back is None:
            return None
        direct = (1 / back[0], -back[1] / back[0])
        if abs((direct[0] - turn[index]) * centre + direct[1] - shift[index]) > MOST_DRIFT:
            return None
        more = direct[0] / turn[index]
        return more, direct[1] - more * shift[index]

    measured = list(pool.map(away_from_chain, range(len(greys))))
    away = np.array([one or (np.nan, np.nan) for one in measured], complex)
    known = np.flatnonzero(~np.isnan(away[:, 0]))
    if len(known) == 0:
        return turn, shift
    every = np.arange(len(greys))
    more, offset = (
        np.interp(every, known, away[known, part].real)
        + 1j * np.interp(every, known, away[known, part].imag)
        for part in (0, 1)
    )
    return more * turn, more * shift + offset


def _corners(grey: NDArray[np.uint8], ground: NDArray[np.uint8]) -> Points:
    found: Any = cv2.goodFeaturesToTrack(grey, MOST_POINTS, 0.01, 6, mask=ground)
    if found is None:
        return np.zeros(0, complex)
    return np.asarray(found[:, 0, 0] + 1j * found[:, 0, 1], complex)


def _motion(
    start: Points,
    guess: Points,
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    ground: NDArray[np.uint8],
) -> tuple[complex, complex] | None:
    """(turn, shift) that most points ``start`` of ``first`` follow into ``second``, whose
    background is ``ground``; they are looked for around ``guess``."""
    inside = (np.minimum(guess.real, guess.imag) > 1) & (
        np.maximum(guess.real, guess.imag) < SIDE - 2
    )
    start, guess = start[inside], guess[inside]
    if len(start) < FEWEST_POINTS:
        return None
    here, there = _flat(start), _flat(guess)
    found, good, _ = cv2.calcOpticalFlowPyrLK(first, second, here, there, **_SEARCH)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(second, first, found, here.copy(), **_SEARCH)
    ok = (good[:, 0] > 0) & (returned[:, 0] > 0)
    ok &= np.linalg.norm((back - here)[:, 0], axis=1) < RETURN
    cell = np.clip(np.rint(found[:, 0]), 0, SIDE - 1).astype(int)
    ok &= ground[cell[:, 1], cell[:, 0]] > 0
    if ok.sum() < FEWEST_POINTS:
        return None
    matrix, agreed = cv2.estimateAffinePartial2D(
        here[ok], found[ok], method=cv2.RANSAC, ransacReprojThreshold=AGREE
    )
    if matrix is None or agreed.sum() < max(FEWEST_POINTS, 0.3 * ok.sum()):
        return None
    return complex(matrix[0, 0], matrix[1, 0]), complex(matrix[0, 2], matrix[1, 2])


def _flat(points: Points) -> NDArray[np.float32]:
    return np.stack([points.real, points.imag], axis=-1)[:, None].astype(np.float32)


def completed(
    index: int, clip: Clip, order: Iterable[int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture [S,S,3] and matte [S,S] of one frame, their unknown borders from other frames.

    ``order`` names the frames that are asked, the most alike first; what none of at most four
    knows repeats the border.
    """
    picture, matte, known = (part[index].copy() for part in (clip.frames, clip.mattes, clip.known))
    size = known.shape[0]
    reach = max(1, round(FEATHER * size))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    given = 0
    for donor in order:
        missing = known == 0
        if given == DONORS or missing.mean() < 1e-3:
            break
        if (missing & (clip.known[donor] > 0)).sum() < 0.3 * missing.sum():
            continue
        # What the picture shows itself fades out towards its border.
        inner = cv2.erode(known, kernel)
        own = cv2.blur(inner, (reach, reach)).astype(np.float32) / 255
        own[(known > 0) & (clip.known[donor] == 0)] = 1
        own[missing] = 0
        picture = np.asarray(cv2.blendLinear(picture, clip.frames[donor], own, 1 - own), np.uint8)
        matte = np.asarray(cv2.blendLinear(matte, clip.mattes[donor], own, 1 - own), np.uint8)
        known = np.asarray(cv2.max(known, clip.known[donor]), np.uint8)
        given += 1
    return picture, matte
