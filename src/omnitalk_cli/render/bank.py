"""Making the mesh renderer's bank from pictures, mattes and codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import InputError
from omnitalk_cli.render.compositor import Layer, pixel_grid
from omnitalk_cli.render.features import Features, features_of
from omnitalk_cli.render.flow import FlowGrid, build_grid
from omnitalk_cli.render.geometry import Geometry
from omnitalk_cli.render.mesh import MeshBank
from omnitalk_cli.render.patches import PatchKind, cut
from omnitalk_cli.render.plan import build_planner
from omnitalk_cli.render.plate import build_plate
from omnitalk_cli.render.topology import LID_A, LID_B, LIPS, Topology
from omnitalk_cli.types import Float

MOST_FRAMES = 300
MOST_KEYS = 24


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
    good &= opening <= max(np.quantile(opening, 0.5), 3.0)
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


def build_bank(
    frames: Sequence[NDArray[np.uint8]],
    mattes: Sequence[NDArray[np.uint8]],
    geometry: Geometry,
    sharpness: Float,
    topology: Topology,
) -> MeshBank:
    """Bank of pictures [S,S,3], their mattes [S,S] and their geometry, all of the same length."""
    if len(frames) == 0:
        raise InputError("the reference holds no frame to render from: extract it again")
    size = frames[0].shape[0]
    grid = build_grid(size, topology)
    features = features_of(geometry)
    keys = choose_keys(features, sharpness)
    layers = [Layer(picture=np.dstack([frames[key], mattes[key]])) for key in keys]
    lips, lid_a, lid_b = grid.sharp_parts
    lids = np.concatenate([lid_a, lid_b])
    return MeshBank(
        size=size,
        grid=grid,
        pixels=pixel_grid(size),
        geometry=geometry,
        key_indices=keys,
        layers=tuple(layers),
        plate=build_plate(frames, mattes),
        mouth_kind=PatchKind(groups=(lips,), grow=(1.35, 1.35), feather=0.06, gaze=False),
        mouths=tuple(
            cut(frame, geometry.vertices[index, lips], float(geometry.scale[index]))
            for index, frame in enumerate(frames)
        ),
        eye_kind=PatchKind(groups=(lid_a, lid_b), grow=(1.25, 1.3), feather=0.035, gaze=True),
        eyes=tuple(
            cut(frame, geometry.vertices[index, lids], float(geometry.scale[index]))
            for index, frame in enumerate(frames)
        ),
        planner=build_planner(take(features, keys), features),
    )
