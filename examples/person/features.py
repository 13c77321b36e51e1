"""Eyes, lashes, teeth and tongue: what the skin's openings show."""

from __future__ import annotations

import cv2
import numpy as np

from omnitalk_cli.face.rig import EYE_RADIUS, rotation_matrix
from person.head import INNER_LIPS, LEFT_LIDS, RIGHT_LIDS
from person.light import FILL, KEY, SKY
from person.raster import Camera
from person.skin import closed_curve, noise, smooth_step

BALL = 0.178  # eyeball radius: the model's lids are a little wider than life
IRIS = 0.0795
SCLERA = np.array([0.62, 0.575, 0.535], np.float32)
_SHIFT = 4


def fixed(points: np.ndarray) -> np.ndarray:
    """Pixel coordinates for OpenCV's drawing with sub-pixel bits."""
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def box_of(points: np.ndarray, margin: int, size: int) -> tuple[slice, slice]:
    """The rows and columns that hold ``points`` [K,2] and a margin."""
    low = np.clip(np.floor(points.min(axis=0)).astype(int) - margin, 0, size - 2)
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + margin, 2, size)
    return slice(low[1], max(high[1], low[1] + 2)), slice(low[0], max(high[0], low[0] + 2))


def fill(shape: tuple[int, int], origin: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Soft-edged polygon as a float mask; ``outline`` in pixels, ``origin`` of the crop."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [fixed(outline - origin)], 255, cv2.LINE_AA, _SHIFT)
    return mask.astype(np.float32) / 255


class Eyes:
    """Two eyeballs: shading is analytic, one sphere per opening."""

    def __init__(self, neutral: np.ndarray, rng: np.random.Generator) -> None:
        self.centres = []
        for iris, lids in ((468, RIGHT_LIDS), (473, LEFT_LIDS)):
            rim = neutral[list(lids)]
            front = 0.5 * (rim[4, 2] + rim[12, 2]) - 0.004
            place = neutral[iris].copy()
            place[1] = 0.45 * place[1] + 0.55 * (0.5 * rim[4, 1] + 0.5 * rim[12, 1]) + 0.006
            place[2] = front - BALL
            self.centres.append(place)
        fibres = noise((64, 720), 5, rng)
        fibres += cv2.resize(noise((6, 720), 3, rng), (720, 64)) * 1.2
        fibres[:, -24:] = (  # no seam where the circle closes
            fibres[:, -24:] * np.linspace(1, 0, 24) + fibres[:, :24] * np.linspace(0, 1, 24)
        )
        self.fibres = cv2.GaussianBlur(fibres, (1, 9), 0)

    def draw(
        self, canvas: np.ndarray, camera: Camera, dense: np.ndarray, rotation: np.ndarray,
        offset: np.ndarray, gaze: np.ndarray,
    ) -> None:  # fmt: skip
        """Paint both eyes into the linear ``canvas``; ``gaze`` [4] left then right, radians."""
        order = ((self.centres[0], RIGHT_LIDS, gaze[2:4]), (self.centres[1], LEFT_LIDS, gaze[:2]))
        for centre, lids, angles in order:
            rim = camera.project(dense[list(lids)])[:, :2]
            outline = closed_curve(rim, 6)
            rows, cols = box_of(outline, int(0.05 * camera.scale), camera.size)
            place = rotation @ centre + offset
            pixel = camera.scale * camera.distance / (camera.distance - place[2] - BALL * 0.9)
            yy, xx = np.mgrid[rows, cols].astype(np.float32)
            dx = ((xx - camera.centre[0]) / pixel - place[0]) / BALL
            dy = ((camera.centre[1] - yy) / pixel - place[1]) / BALL
            r2 = dx * dx + dy * dy
            dz = np.sqrt(np.clip(1.0 - r2, 0.02, 1.0))
            normal = np.stack([dx, dy, dz], axis=-1)
            normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
            turn = rotation @ rotation_matrix(
                np.array([angles[1], angles[0], 0.0]) * EYE_RADIUS / BALL * 1.35
            )
            local = normal @ turn.astype(np.float32)
            radius = np.hypot(local[..., 0], local[..., 1]) * BALL / IRIS
            radius = np.where(local[..., 2] > 0, radius, 9.0)
            angle = np.arctan2(local[..., 1], local[..., 0])
            colour = self._iris(radius, angle)
            white = SCLERA * (1 - 0.10 * smooth_step(1.2, 2.6, radius)[..., None])
            white = (
                white
                * np.array([1.0, 0.97, 0.95], np.float32)
                ** smooth_step(1.5, 2.4, radius)[..., None]
            )
            inside = smooth_step(1.04, 0.93, radius)[..., None]
            colour = white + (colour - white) * inside
            # Wet corner on the nose side.
            corner = rim[8] - np.array([cols.start, rows.start])
            dist = np.hypot(xx - cols.start - corner[0], yy - rows.start - corner[1])
            pink = np.exp(-((dist / (0.042 * camera.scale)) ** 2))[..., None]
            colour = colour + (np.array([0.50, 0.19, 0.16]) - colour) * 0.85 * pink
            # Light: key and room, with the upper lid's shadow and the socket's.
            mask = fill(yy.shape, np.array([cols.start, rows.start]), outline)
            soft = cv2.GaussianBlur(mask, (0, 0), 0.030 * camera.scale)
            lid = np.roll(cv2.GaussianBlur(mask, (0, 0), 0.016 * camera.scale),
                          int(0.026 * camera.scale), axis=0)  # fmt: skip
            shade = smooth_step(0.25, 0.95, soft) * (0.38 + 0.62 * smooth_step(0.1, 1.0, lid))
            cosine = np.clip(normal @ KEY.direction * 0.6 + 0.4, 0, 1)[..., None]
            light = cosine * np.array(KEY.colour) * 0.62 + SKY * 0.55 + np.array(FILL.colour) * 0.35
            # The iris lies behind the cornea: it gathers light on the far side from the key.
            caustic = np.clip(-(local @ (turn.T @ KEY.direction)) + 0.75, 0, 1)[..., None]
            light = light * (1 + inside * 0.9 * (caustic - 0.15))
            lit = colour * light * (0.14 + 0.86 * shade[..., None])
            lit += (
                self._reflection(normal, local, turn, radius)
                * smooth_step(0.35, 0.9, shade)[..., None]
            )
            # A bright line of tears along the lower lid.
            line = np.zeros(mask.shape, np.uint8)
            lower = outline[8 * 6 :] - np.array([cols.start, rows.start])
            cv2.polylines(line, [fixed(lower + [0, -0.010 * camera.scale])], False, 255,
                          max(1, int(0.007 * camera.scale)), cv2.LINE_AA, _SHIFT)  # fmt: skip
            lit += 0.10 * (line.astype(np.float32)[..., None] / 255) * np.array(KEY.colour) * 0.6
            canvas[rows, cols] = lit

    def _iris(self, radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
        """Hazel: amber round the pupil, green-grey outside, dark fibres and a dark border."""
        u = ((angle / (2 * np.pi)) % 1.0 * 719).astype(np.float32)
        v = np.clip(radius * 63, 0, 63).astype(np.float32)
        fibre = cv2.remap(self.fibres, u, v, cv2.INTER_LINEAR)[..., None]
        inner = np.array([0.235, 0.115, 0.035], np.float32)
        outer = np.array([0.100, 0.120, 0.070], np.float32)
        ring = smooth_step(0.45, 0.80, radius + 0.06 * fibre[..., 0])[..., None]
        colour = (inner + (outer - inner) * ring) * np.clip(1.0 + 0.30 * fibre, 0.35, 2.2)
        colour = colour * (1 - 0.80 * smooth_step(0.80, 1.02, radius))[..., None]
        return colour * (0.012 + 0.988 * smooth_step(0.36, 0.43, radius))[..., None]

    @staticmethod
    def _reflection(
        normal: np.ndarray, local: np.ndarray, turn: np.ndarray, radius: np.ndarray
    ) -> np.ndarray:
        """The softboxes in the cornea, which bulges out of the ball."""
        bulge = smooth_step(1.25, 0.75, radius)[..., None]
        raised = local * np.array([1.0 + 0.9, 1.0 + 0.9, 1.0], np.float32)
        raised = local + (raised - local) * bulge
        raised /= np.linalg.norm(raised, axis=-1, keepdims=True)
        world = raised @ turn.T.astype(np.float32)
        mirrored = 2 * world[..., 2:3] * world - np.array([0, 0, 1], np.float32)
        out = np.zeros_like(normal)
        for light, width, height, power in ((KEY, 0.30, 0.34, 5.0), (FILL, 0.20, 0.45, 0.55)):
            z = light.direction
            x = np.cross([0.0, 1.0, 0.0], z)
            x /= np.linalg.norm(x)
            y = np.cross(z, x)
            a, b, c = mirrored @ x, mirrored @ y, mirrored @ z
            pane = (
                smooth_step(width + 0.05, width - 0.05, np.abs(a))
                * smooth_step(height + 0.05, height - 0.05, np.abs(b))
                * (c > 0)
            )
            out += (
                pane[..., None] * np.array(light.colour, np.float32) * power * (0.10 + 0.22 * bulge)
            )
        return out + 0.02 * SKY


def draw_lashes(
    canvas: np.ndarray, camera: Camera, dense: np.ndarray, rotation: np.ndarray,
    closing: tuple[float, float], fan: np.ndarray,
) -> None:  # fmt: skip
    """Upper and lower lashes as tapered strokes; ``fan`` [2,2,K] fixed random numbers."""
    for lids, side, shut in ((RIGHT_LIDS, -1.0, closing[0]), (LEFT_LIDS, 1.0, closing[1])):
        rim = dense[list(lids)]
        rows, cols = box_of(camera.project(rim)[:, :2], int(0.16 * camera.scale), camera.size)
        layer = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)
        origin = np.array([cols.start, rows.start])
        curve = closed_curve(rim, 12)
        # A dark root line makes the lid's edge.
        edge = camera.project(curve[4 : 8 * 12 - 8])[:, :2] - origin
        cv2.polylines(layer, [fixed(edge)], False, 150, max(1, int(0.012 * camera.scale)),
                      cv2.LINE_AA, _SHIFT)  # fmt: skip
        for upper in (True, False):
            count = 40 if upper else 20
            for k in range(count):
                t = (k + 0.5) / count
                jitter = fan[0, int(upper), k]
                if upper:
                    base = curve[int(3 + t * (8 * 12 - 14))]
                    outward = np.interp(t, [0, 0.45, 1], [0.95, 0.15, -0.45]) + 0.16 * jitter
                    length = np.interp(t, [0, 0.3, 1], [0.080, 0.084, 0.036])
                    rise = 0.62 - 1.25 * shut
                else:
                    base = curve[int(16 * 12 - 6 - t * (7 * 12))]
                    outward = np.interp(t, [0, 0.5, 1], [0.8, 0.2, -0.3]) + 0.2 * jitter
                    length = 0.032
                    rise = -0.75
                length *= 0.85 + 0.3 * fan[1, int(upper), k]
                start = np.array([side * outward * 0.8, rise - (0.75 if upper else 0), 0.75])
                end = np.array([side * outward, rise + 0.35 * (1 - shut), 0.45])
                s = np.linspace(0, 1, 6)[:, None]
                local = (start * s + (end - start) * 0.65 * s**2) * length
                path = camera.project(base + local @ rotation.T)[:, :2] - origin
                for i in range(5):
                    cv2.line(layer, fixed(path[i]).tolist(), fixed(path[i + 1]).tolist(),
                             int((235 if upper else 120) * (1 - 0.13 * i)),
                             2 if upper and i < 3 else 1, cv2.LINE_AA, _SHIFT)  # fmt: skip
        amount = (layer.astype(np.float32) / 255 * 0.92)[..., None]
        part = canvas[rows, cols]
        part += (np.array([0.012, 0.007, 0.005], np.float32) - part) * amount


class Mouth:
    """Cavity, two rows of teeth and a tongue, seen through the lips' opening."""

    def __init__(self, neutral: np.ndarray) -> None:
        self.neutral = neutral
        self.lip = neutral[13].copy()
        self.jaw = neutral[17].copy()

    def draw(
        self, canvas: np.ndarray, camera: Camera, dense: np.ndarray, marks: np.ndarray,
        rotation: np.ndarray, offset: np.ndarray,
    ) -> None:  # fmt: skip
        """Paint the opening; ``marks`` [478,3] head-space landmarks of this frame."""
        outline = closed_curve(camera.project(dense[list(INNER_LIPS)])[:, :2], 5)
        rows, cols = box_of(outline, int(0.06 * camera.scale), camera.size)
        origin = np.array([cols.start, rows.start])
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        mask = fill(shape, origin, outline)
        yy, xx = np.mgrid[rows, cols].astype(np.float32)
        picture = np.empty((*shape, 3), np.float32)
        reach = cv2.GaussianBlur(mask, (0, 0), 0.020 * camera.scale)
        rim = smooth_step(0.75, 0.35, reach)[..., None]
        picture[:] = np.array([0.022, 0.007, 0.006]) + rim * np.array([0.30, 0.085, 0.075])
        drop = (marks[152] - self.neutral[152]) * 0.92

        def screen(points: np.ndarray) -> np.ndarray:
            return camera.project(points @ rotation.T + offset)[:, :2]

        # Tongue: a soft mound that goes with the jaw.
        a = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        mound = np.stack([0.185 * np.cos(a), 0.085 * np.sin(a), 0 * a], axis=1)
        tongue = self.lip + drop * 0.9 + [0, -0.155, -0.16] + mound
        soft = cv2.GaussianBlur(fill(shape, origin, screen(tongue)), (0, 0), 0.022 * camera.scale)
        top = screen((self.lip + drop * 0.9 + [0, -0.07, -0.16])[None])[0, 1]
        glow = np.exp(-np.abs(yy - top) / (0.05 * camera.scale))[..., None]
        flesh = np.array([0.24, 0.066, 0.060], np.float32) * (0.35 + 0.65 * glow)
        picture += (flesh - picture) * soft[..., None]
        for upper in (False, True):
            base = self.lip + (np.array([0, 0.030, -0.070]) if upper
                               else drop + np.array([0, -0.120, -0.095]))  # fmt: skip
            self._teeth(picture, origin, screen, base, upper, camera.scale, yy)
        # The mouth is lit through its opening: dark at the corners and under the upper lip.
        under = np.roll(cv2.GaussianBlur(mask, (0, 0), 0.013 * camera.scale),
                        int(0.022 * camera.scale), axis=0)  # fmt: skip
        depth = 0.28 + 0.72 * smooth_step(0.1, 0.9, reach) * (0.35 + 0.65 * under)
        canvas[rows, cols] = picture * depth[..., None] * (np.array(KEY.colour) * 0.5 + SKY * 0.6)

    @staticmethod
    def _teeth(
        picture: np.ndarray, origin: np.ndarray, screen, base: np.ndarray, upper: bool,
        scale: float, yy: np.ndarray,
    ) -> None:  # fmt: skip
        widths = (0.062, 0.050, 0.055, 0.050, 0.048, 0.06) if upper else (
            0.040, 0.044, 0.050, 0.050, 0.048, 0.06
        )  # fmt: skip
        heights = (0.092, 0.080, 0.086, 0.074, 0.068, 0.06) if upper else (
            0.074, 0.074, 0.078, 0.068, 0.062, 0.06
        )  # fmt: skip
        sign = -1.0 if upper else 1.0
        order = [(k, s) for k in range(5, -1, -1) for s in (-1.0, 1.0)]
        lefts = np.concatenate([[0.0], np.cumsum(widths)])

        def bend(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            arc = x / 0.26
            return base + np.stack([0.26 * np.sin(arc) * 0.98, y, 0.26 * (np.cos(arc) - 1)], axis=1)

        gum = bend(np.linspace(-0.28, 0.28, 20), np.zeros(20))
        band = np.concatenate(
            [screen(gum + [0, -sign * 0.12, 0]), screen(gum + [0, sign * 0.03, 0])[::-1]]
        )
        flesh = fill(picture.shape[:2], origin, band)[..., None]
        picture += (np.array([0.30, 0.085, 0.075], np.float32) - picture) * flesh
        for k, side in order:
            x = np.linspace(lefts[k] + 0.0012, lefts[k + 1] - 0.0012, 9)
            middle = (x - x.mean()) / (0.5 * widths[k])
            point = 0.004 if k == 2 else 0.0
            edge = heights[k] * (1 - 0.10 * np.abs(middle) ** 4) + point * (1 - middle**2)
            root = 0.014 * middle**2
            path = np.concatenate([
                screen(bend(side * x, sign * edge)), screen(bend(side * x, sign * root))[::-1]
            ])  # fmt: skip
            mask = fill(picture.shape[:2], origin, path)
            rim = cv2.GaussianBlur(mask, (0, 0), 0.007 * scale)
            round_off = 0.55 + 0.45 * smooth_step(0.35, 0.95, rim)
            tip = screen((base + [0, sign * heights[k], 0])[None])[0, 1]
            length = np.clip(np.abs(yy - tip) / (heights[k] * scale), 0, 1)
            colour = np.array([0.57, 0.51, 0.42], np.float32) * (
                np.array([1.0, 1.0, 1.04]) - np.array([0.02, 0.07, 0.16]) * length[..., None]
            )
            colour = colour * (round_off * (1 - 0.13 * k) * (1.0 if upper else 0.72))[..., None]
            picture += (colour - picture) * mask[..., None]
