"""Mira: everything that is made once, and a frame for a set of codes."""

from __future__ import annotations

import cv2
import numpy as np

from omnitalk_cli.face.codes import CODE_INDEX, GAZE, POSE
from omnitalk_cli.face.rig import FaceRig, rotation_matrix
from person import body, features, hair, light, skin, studio
from person.head import INNER_LIPS, Head
from person.raster import Camera, rasterise, vertex_normals
from person.strands import HairBrush

PIVOT = np.array([0.0, -0.95, -0.85])  # top of the spine: the head turns about it
WRAP = (0.19, 0.10, 0.06)


def mira() -> np.ndarray:
    """Her neutral face [478,3]: the model's mean, drawn finer, with closed and fuller lips."""
    face = FaceRig.load().mean.astype(np.float64).copy()
    for k in range(1, 10):  # close the lips
        upper, lower = INNER_LIPS[k], INNER_LIPS[20 - k]
        middle = 0.45 * face[upper] + 0.55 * face[lower]
        for mark in (upper, lower):
            face[mark, 1] = middle[1] + (-0.0015 if mark == upper else 0.0015)

    def stretch(centre: np.ndarray, reach: float, factors: tuple[float, float, float]) -> None:
        away = face - centre
        near = np.exp(-0.5 * ((away[:, :2] ** 2).sum(axis=1) / reach**2))[:, None]
        face[:] = centre + away * (1 + (np.array(factors) - 1) * near)

    for iris in (468, 473):
        stretch(face[iris].copy(), 0.22, (1.09, 1.15, 1.0))
    stretch(0.5 * (face[13] + face[14]), 0.22, (1.03, 1.14, 1.05))
    stretch(face[1] * [1, 1, 0] + [0, 0.02, face[1, 2]], 0.20, (0.88, 0.98, 1.0))
    slim = np.interp(face[:, 1], [-1.25, -0.8, -0.3], [0.90, 0.935, 0.985])
    face[:, 0] *= slim
    return face


class Portrait:
    """Mira in her studio; ``size`` is the side of the finished picture, ``over`` supersampling."""

    def __init__(self, rng: np.random.Generator, *, size: int = 512, over: float = 2.0) -> None:
        self.size = size
        scale = size * 0.258
        self.camera = Camera(
            size=size, scale=scale, centre=(size * 0.5, size * 0.468), distance=11.0
        ).scaled(over)
        self.face = mira()
        self.head = Head(self.face)
        self.maps = skin.paint(self.face, rng)
        self.eyes = features.Eyes(self.face, rng)
        self.mouth = features.Mouth(self.face)
        self.fan = np.stack([rng.standard_normal((2, 64)), rng.random((2, 64))])
        self.strands = hair.grow(rng)
        self.rest = self.head.dense(self.face).astype(np.float32)
        self.neck, self.neck_triangles, self.neck_follow = body.neck()
        self.cloth, self.cloth_triangles, self.threads = body.sweater()
        self._bake(rng)
        turns = ((0, 0, 0), (0, 0.15, 0), (0, -0.15, 0), (0.12, 0, 0.05), (-0.08, 0, -0.05))
        poses = [head_pose(np.array([*turn, 0.0, 0.0, 0.0])) for turn in turns]
        self.brush = HairBrush(self.strands, self.camera, poses)
        self.room = studio.room(self.camera.size, rng)
        self.torso, self.torso_cover, self.torso_depth = self._torso(rng)

    # -- made once ------------------------------------------------------------------------

    def _bake(self, rng: np.random.Generator) -> None:
        """What every vertex sees of the lights, past head, neck, sweater and hair."""
        ribbons = self.strands.paths[::5, ::4]
        wide = np.array([0.05, 0.0, 0.03], np.float32)
        a, b = ribbons - wide / 2, ribbons + wide / 2
        count, steps = ribbons.shape[:2]
        strip = np.concatenate([a.reshape(-1, 3), b.reshape(-1, 3)])
        i = (np.arange(count)[:, None] * steps + np.arange(steps - 1)[None]).ravel()
        half = count * steps
        quads = np.concatenate([np.stack([i, i + 1, i + half], 1),
                                np.stack([i + 1, i + 1 + half, i + half], 1)])  # fmt: skip
        coarse = self.head.coarse(self.face) + self.head.control
        middle = self.head.half @ coarse
        solids = [
            (middle.astype(np.float32), self.head.half_triangles),
            (self.neck, self.neck_triangles),
            (self.cloth, self.cloth_triangles),
            (strip.astype(np.float32), quads),
        ]
        points, triangles, start = [], [], 0
        for some, faces in solids:
            points.append(some)
            triangles.append(faces + start)
            start += len(some)
        receivers = [self.rest, self.neck, self.cloth]
        normals = [
            vertex_normals(self.rest, self.head.triangles),
            vertex_normals(self.neck, self.neck_triangles),
            vertex_normals(self.cloth, self.cloth_triangles),
        ]
        seen = light.visibility(
            np.concatenate(receivers), np.concatenate(normals).astype(np.float32),
            np.concatenate(points), np.concatenate(triangles), rng,
        )  # fmt: skip
        first, second = len(self.rest), len(self.rest) + len(self.neck)
        self.seen, self.neck_seen, self.cloth_seen = seen[:first], seen[first:second], seen[second:]

    def _torso(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The sweater as a picture with cover and depth: it stands still but for its breath."""
        camera = self.camera
        normals = vertex_normals(self.cloth, self.cloth_triangles).astype(np.float32)
        shot = rasterise(camera.project(self.cloth), self.cloth_triangles, camera.size)
        values = np.concatenate([self.cloth, normals, self.cloth_seen, self.threads], axis=1)
        at = shot.interpolate(values)
        place, normal, seen, threads = at[:, :3], at[:, 3:6], at[:, 6:11], at[:, 11:14]
        height = shot.scatter(body.knit(threads, place).astype(np.float32))
        height = cv2.GaussianBlur(height, (0, 0), 0.8)
        gx = cv2.Sobel(height, -1, 1, 0, scale=0.125).ravel()[shot.pixels]
        gy = cv2.Sobel(height, -1, 0, 1, scale=0.125).ravel()[shot.pixels]
        normal = normal + np.stack([-gx, gy, 0 * gx], axis=1) * 1.6
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        high = height.ravel()[shot.pixels][:, None]
        fuzz = skin.noise((camera.size, camera.size), 2.2, rng).ravel()[shot.pixels][:, None]
        albedo = body.YARN * (0.45 + 0.75 * high) * (1 + 0.10 * fuzz)
        lit = light.diffuse(normal, seen, wrap=(0.1, 0.1, 0.1)) * albedo
        rim = (1 - np.clip(normal[:, 2:3], 0, 1)) ** 3 * seen[:, :1]
        lit += rim * 0.05 * (0.5 + high)
        cover = cv2.GaussianBlur(shot.scatter(np.ones(len(lit), np.float32)), (0, 0), 0.8)
        return shot.scatter(lit), cover, shot.scatter(place[:, 2], -9.0)

    # -- made for every frame -------------------------------------------------------------

    def frame(self, codes: np.ndarray, *, breath: float = 0.0) -> np.ndarray:
        """The linear picture ``[S,S,3]`` for codes ``[61]``; ``breath`` lifts the torso (0…1)."""
        camera = self.camera
        pose = codes[POSE]
        rotation, offset = head_pose(pose)
        marks = self.head.landmarks(codes)
        dense = (self.head.dense(marks) @ rotation.T + offset).astype(np.float32)

        canvas = self.room.copy()
        shift = np.float32([[1, 0, 0.15 * pose[3] * camera.scale],
                            [0, 1, -0.012 * breath * camera.scale]])  # fmt: skip
        size = (camera.size, camera.size)
        torso = cv2.warpAffine(self.torso, shift, size, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(self.torso_cover, shift, size, borderMode=cv2.BORDER_REPLICATE)
        neck = self.neck + self.neck_follow * (
            (self.neck @ rotation.T + offset).astype(np.float32) - self.neck
        )
        shots = [
            self._skin(neck, self.neck_triangles, self.neck_seen, self.neck + [0, 0.0, 0]),
            self._skin(dense, self.head.triangles, self.seen, self.rest),
        ]
        surface = self.torso_depth.copy()
        flat = surface.ravel()
        for shot, at in shots:
            flat[shot.pixels] = np.maximum(flat[shot.pixels], at[:, 12])
        behind, before = self.brush.draw(rotation, offset, surface, -0.72)
        over(canvas, behind[..., :3], behind[..., 3])

        # Skin: the arriving light is blurred over neck and head together, then coloured.
        arriving = np.zeros((*size, 3), np.float32)
        mask = np.zeros(size, np.float32)
        flesh = np.zeros((*size, 3), np.float32)
        shine = np.zeros((*size, 3), np.float32)
        head_mask = shots[1][0].scatter(np.ones(len(shots[1][0].pixels), np.float32))
        for index, (shot, at) in enumerate(shots):
            if index == 0:
                albedo = np.broadcast_to(skin.BASE * [0.97, 0.92, 0.90], (len(at), 3))
                gloss, slope = np.full(len(at), 0.35, np.float32), np.zeros((1, 2), np.float32)
            else:
                albedo, gloss, slope = self.maps.sample(at[:, 6:9])
            normal = at[:, :3]
            normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
            normal[:, :2] -= slope
            normal /= np.linalg.norm(normal, axis=1, keepdims=True)
            place = at[:, 10:13]
            reflected = light.gloss(normal, light.view_of(place, camera), at[:, 13:18], 0.40)
            if index == 1:
                rooted = skin.smooth_step(-0.012, 0.05, hair.hairline(at[:, 6:9]))[:, None]
                albedo = albedo + (hair.DARK * 0.8 - albedo) * 0.92 * rooted
                gloss = gloss * (1 - rooted[:, 0])
            for target, values in ((arriving, at[:, 3:6]), (flesh, albedo),
                                   (shine, reflected * gloss[:, None] * 1.25)):  # fmt: skip
                target.reshape(-1, 3)[shot.pixels] = values
            mask.ravel()[shot.pixels] = 1.0
        arriving = light.through_skin(arriving, mask, camera.scale)
        painted = arriving * flesh + shine
        neck_mask = shots[0][0].scatter(np.ones(len(shots[0][0].pixels), np.float32))
        over(canvas, painted, cv2.GaussianBlur(neck_mask, (0, 0), 0.7))
        throat = shots[0][0].scatter(shots[0][1][:, 12], -9.0)
        above = cv2.GaussianBlur((throat <= self.torso_depth).astype(np.float32), (0, 0), 0.9)
        over(canvas, torso, cover * above)
        self.mouth.draw(canvas, camera, dense, marks, rotation, offset)
        self.eyes.draw(canvas, camera, dense, rotation, offset, codes[GAZE])
        over(canvas, painted, head_mask)
        shut = tuple(float(codes[CODE_INDEX[f"eyeBlink{s}"]]) for s in ("Right", "Left"))
        features.draw_lashes(canvas, camera, dense, rotation, shut, self.fan)
        over(canvas, before[..., :3], before[..., 3])
        return canvas

    def _skin(self, points: np.ndarray, triangles: np.ndarray, seen: np.ndarray, rest: np.ndarray):
        """Fragments of a skin mesh and at each: normal, light, rest place, 1, place, seen."""
        normals = vertex_normals(points, triangles).astype(np.float32)
        lit = light.diffuse(normals, seen, wrap=WRAP)
        one = np.ones((len(points), 1), np.float32)
        values = np.concatenate([normals, lit, rest, one, points, seen], axis=1)
        shot = rasterise(self.camera.project(points), triangles, self.camera.size)
        return shot, shot.interpolate(values.astype(np.float32))


def head_pose(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and offset of the head for the six pose codes; it turns about the neck."""
    rotation = rotation_matrix(np.asarray(pose[:3], np.float64))
    moved = np.array([pose[3], pose[4], 4.0 * pose[5]])
    return rotation, PIVOT - rotation @ PIVOT + moved


def over(canvas: np.ndarray, colour: np.ndarray, cover: np.ndarray) -> None:
    """Lay ``colour`` over ``canvas`` in place where ``cover`` [S,S] says."""
    canvas += (colour - canvas) * cover[..., None]
