"""Making the mesh renderer's bank from pictures, mattes and codes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from omnitalk_cli.errors import InputError
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.render.camera import Camera, Clip, completed, find_camera, held
from omnitalk_cli.render.cavity import MouthLook
from omnitalk_cli.render.compositor import Layer
from omnitalk_cli.render.features import (
    Features,
    base_distance,
    eye_inputs,
    features_of,
    mouth_inputs,
    residual_inputs,
)
from omnitalk_cli.render.flow import GRID, FlowGrid, build_grid
from omnitalk_cli.render.geometry import Geometry, geometry_of
from omnitalk_cli.render.learning import PartModel, learn_part, learn_residual_of
from omnitalk_cli.render.lids import EyeLook, learn_eyes
from omnitalk_cli.render.limits import PoseLimits, limits_of
from omnitalk_cli.render.looks import mouth_look
from omnitalk_cli.render.patches import Crop, PatchKind, cut
from omnitalk_cli.render.plan import Planner, build_planner
from omnitalk_cli.render.plate import Plate, build_plate, plate_frames
from omnitalk_cli.render.residual import Residual
from omnitalk_cli.render.sampling import pixel_grid
from omnitalk_cli.render.topology import BROWS, LIPS_OUTER, build_topology
from omnitalk_cli.types import Float, PoseFrame, Reference

MOST_FRAMES = 300
MOST_KEYS = 24
SHARPEN = 0.45  # chosen so that a picture read half-way between pixels is as sharp as before


@dataclass(frozen=True, kw_only=True)
class MeshBank:
    """The reference, ready to be warped: base keys, crops of all frames, geometry, plate.

    ``size`` is the side of the pictures inside, ``frame_size`` of those given out.
    """

    size: int
    frame_size: int
    grid: FlowGrid
    pixels: Float
    geometry: Geometry
    key_indices: NDArray[np.int64]
    layers: tuple[Layer, ...]
    key_mattes: tuple[NDArray[np.uint8], ...]
    plate: Plate | None
    mouth_kind: PatchKind
    mouths: tuple[Crop, ...]
    mouth_model: PartModel | None
    eye_kind: PatchKind
    eyes: tuple[Crop, ...]
    eye_model: PartModel | None
    planner: Planner
    residual: Residual
    inputs: Float
    inner_lips: NDArray[np.int64]
    mouth_look: MouthLook
    eye_looks: tuple[EyeLook, ...]  # of a still alone: its eyes are drawn
    still: Float  # [61] the codes of its picture
    neutral: Float
    pose_frame: PoseFrame
    limits: PoseLimits

    def geometry_of(self, codes: Float) -> Geometry:
        """Where ``codes`` [N,61] put this person's face."""
        return geometry_of(codes, self.neutral, self.pose_frame, self.grid.topology)


def take(features: Features, indices: NDArray[np.int64]) -> Features:
    """The features of some frames."""
    return Features(
        pose=features.pose[indices],
        lips=features.lips[indices],
        brows=features.brows[indices],
        openness=features.openness[indices],
        gaze=features.gaze[indices],
        opening=features.opening[indices],
    )


def choose_keys(features: Features, sharpness: Float, most: int = MOST_KEYS) -> NDArray[np.int64]:
    """Base pictures: farthest points over pose and brows among sharp, open-eyed, closed mouths."""
    count = len(sharpness)
    openness, opening = features.openness.mean(axis=1), features.opening
    good = sharpness >= 0.7 * np.median(sharpness)
    good &= openness >= 0.7 * np.median(openness)
    good &= opening <= max(float(np.quantile(opening, 0.5)), 3.0)
    if good.sum() < min(count, 8):
        good = openness >= np.quantile(openness, 0.3)
    candidates = np.flatnonzero(good)
    space = np.concatenate(
        [features.pose, 0.3 * features.brows * np.sqrt(2 / features.brows.shape[1])], axis=1
    )[candidates]
    first = int(((space - np.median(space, axis=0)) ** 2).sum(axis=1).argmin())
    chosen = [first]
    distance = np.linalg.norm(space - space[first], axis=1)
    while len(chosen) < most and distance.max() > 0.5:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(space - space[chosen[-1]], axis=1))
    return np.sort(candidates[chosen])


def bank_of(reference: Reference, *, workers: int = 1, progress: Progress = silent) -> MeshBank:
    """Make the bank of a reference, from at most 300 of its frames, evenly spread, with
    ``workers`` threads.

    Raises ``InputError`` when the reference holds no picture or one that cannot be read.
    """
    count = len(reference.frames)
    if count == 0:
        raise InputError(f"{reference.source_name} holds no picture to render from: extract again")
    indices = np.linspace(0, count - 1, min(count, MOST_FRAMES)).round().astype(int)
    if len(set(reference.frames)) == 1:  # a still picture, repeated for as long as the voice lasts
        indices = indices[:1]
    elif (usable := reference.sharpness[indices] > 0).any():  # 0: the face is hidden there
        indices = indices[usable]
    side = max(GRID, round(reference.frame_size / GRID) * GRID)  # whole pixels per grid cell
    zoom = side / reference.frame_size
    home = reference.pose_frame
    name = reference.source_name

    def picture_of(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        frame = _decode(reference.frames[index], cv2.IMREAD_COLOR, name)
        square = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (side, side))
        matte = _decode(reference.mattes[index], cv2.IMREAD_GRAYSCALE, name)
        return np.asarray(square, np.uint8), np.asarray(cv2.resize(matte, (side, side)), np.uint8)

    pictures = []
    with ThreadPoolExecutor(workers) as pool:
        for done, picture in enumerate(pool.map(picture_of, indices), start=1):
            pictures.append(picture)
            progress("bank", done, len(indices))
    frames, mattes = map(list, zip(*pictures, strict=True))
    return build_bank(
        frames=frames,
        mattes=mattes,
        codes=reference.codes[indices],
        sharpness=reference.sharpness[indices],
        neutral=reference.neutral,
        pose_frame=PoseFrame(
            origin_x=(home.origin_x + 0.5) * zoom - 0.5,
            origin_y=(home.origin_y + 0.5) * zoom - 0.5,
            scale=home.scale * zoom,
        ),
        frame_size=reference.frame_size,
        fps=reference.fps * len(indices) / count,
        workers=workers,
    )


def _decode(data: bytes, flag: int, name: str) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if picture is None:
        raise InputError(f"a picture stored in the features of {name} is damaged: extract again")
    return np.asarray(picture, np.uint8)


def build_bank(
    *,
    frames: Sequence[NDArray[np.uint8]],
    mattes: Sequence[NDArray[np.uint8]],
    codes: Float,
    sharpness: Float,
    neutral: Float,
    pose_frame: PoseFrame,
    frame_size: int | None = None,
    fps: float = 25.0,
    workers: int = 1,
) -> MeshBank:
    """Bank of N pictures [S,S,3] RGB, mattes [S,S], ``codes`` [N,61], ``sharpness`` [N].

    S must be a multiple of 128. ``neutral`` and ``pose_frame`` as in ``Reference``, in pixels of
    these pictures; ``frame_size`` is the side of the pictures to give out (default S);
    ``fps`` pictures are a second.
    """
    filmed = codes
    camera = find_camera(frames, mattes, workers=workers)
    clip = None
    if camera is not None and camera.calms(codes, pose_frame):
        clip = held(frames, mattes, camera, range(len(frames)), workers=workers)
        codes = camera.move_codes(codes, pose_frame)
        frames, mattes = clip.frames, clip.mattes
    plain = frames
    frames = [sharpened(frame) for frame in plain]
    size = frames[0].shape[0]
    topology = build_topology(neutral)
    grid = build_grid(size, topology)
    geometry = geometry_of(codes, neutral, pose_frame, topology)
    features = features_of(geometry)
    keys = choose_keys(features, sharpness)
    lips, lid_a, lid_b = grid.sharp_parts
    half = len(BROWS) // 2
    eyes = (
        np.concatenate([lid_a, topology.places(BROWS[:half])]),
        np.concatenate([lid_b, topology.places(BROWS[half:])]),
    )

    def crops(part: NDArray[np.int64]) -> tuple[Crop, ...]:
        places = geometry.vertices[:, part]
        return tuple(map(cut, frames, places, geometry.scale.tolist()))

    mouth_kind = PatchKind(groups=(lips,), grow=(1.65, 1.8), feather=0.07, gaze=False)
    mouths = crops(lips)
    eye_kind = PatchKind(groups=eyes, grow=(1.25, 1.15), feather=0.05, gaze=True)
    eye_crops = crops(np.concatenate(eyes))
    distance = base_distance(features, take(features, keys))
    inputs = residual_inputs(geometry, usual=pose_frame.scale, fps=fps)
    sure = mattes
    if clip is not None:
        sure = [
            np.asarray(cv2.min(matte, known), np.uint8)
            for matte, known in zip(mattes, clip.known, strict=True)
        ]
    # Many small products: with threads of its own for each, BLAS waits for itself on busy machines.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        # The longest first.
        left_over = pool.submit(
            learn_residual_of, frames, sure, geometry, distance, keys, grid, inputs, workers
        )
        # The plate is never read between its pixels, so it is not sharpened.
        plates = pool.submit(_plate_of, plain, mattes, clip, camera)
        mouth_models = pool.submit(
            learn_part, mouths, mouth_kind, geometry, features.opening, mouth_inputs(features), grid
        )
        lids = features.openness.mean(axis=1)
        eye_models = pool.submit(
            learn_part, eye_crops, eye_kind, geometry, lids, eye_inputs(features), grid
        )
        plate, mouth_model = plates.result(), mouth_models.result()
    bases = [(frames[key], mattes[key]) for key in keys]
    if clip is not None:
        alike = np.argsort(base_distance(take(features, keys), features), axis=1)
        bases = [
            completed(int(key), replace(clip, frames=frames), order.tolist())
            for key, order in zip(keys, alike, strict=True)
        ]
    layers = [
        Layer(picture=picture if plate is None else np.dstack([picture, matte]))
        for picture, matte in bases
    ]
    return MeshBank(
        size=size,
        frame_size=frame_size or size,
        grid=grid,
        pixels=pixel_grid(size),
        geometry=geometry,
        key_indices=keys,
        layers=tuple(layers),
        key_mattes=tuple(matte for _, matte in bases),
        plate=plate,
        mouth_kind=mouth_kind,
        mouths=mouths,
        mouth_model=mouth_model,
        eye_kind=eye_kind,
        eyes=eye_crops,
        eye_model=eye_models.result(),
        planner=build_planner(
            take(features, keys), features, mouth_model.appearance if mouth_model else None
        ),
        residual=left_over.result(),
        inputs=inputs,
        inner_lips=lips[len(LIPS_OUTER) :],
        mouth_look=mouth_look(frames, keys, geometry, topology, neutral, still=len(frames) == 1),
        eye_looks=learn_eyes(frames[0], geometry, topology) if len(frames) == 1 else (),
        still=codes[0],
        neutral=neutral,
        pose_frame=pose_frame,
        limits=limits_of(codes, None if clip is None else filmed),
    )


def _plate_of(
    frames: Sequence[NDArray[np.uint8]],
    mattes: Sequence[NDArray[np.uint8]],
    clip: Clip | None,
    camera: Camera | None,
) -> Plate | None:
    """The plate of pictures that are a ``clip`` of the fixed camera already, or whose ``camera``
    goes along with the person: then their own background never fits the plate."""
    if clip is not None:
        return build_plate(frames, mattes, clip.known)
    if camera is None:
        return build_plate(frames, mattes)
    clip = held(frames, mattes, camera, plate_frames(len(frames)))
    plate = build_plate(clip.frames, clip.mattes, clip.known)
    if plate is None:
        return None
    return replace(plate, seen=np.ones_like(plate.seen), calm=np.zeros_like(plate.calm))


def sharpened(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``picture`` with the finest detail raised by as much as reading it between its pixels will
    take away."""
    soft = cv2.GaussianBlur(picture, (0, 0), 0.7)
    return np.asarray(cv2.addWeighted(picture, 1 + SHARPEN, soft, -SHARPEN, 0), np.uint8)
