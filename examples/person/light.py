"""The studio's light: three softboxes and a grey room, soft shadows, light inside skin."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from person.raster import Camera, rasterise


@dataclass(frozen=True, kw_only=True)
class Light:
    """A softbox: where it stands, its colour (radiance), its half-angle in degrees."""

    towards: tuple[float, float, float]
    colour: tuple[float, float, float]
    spread: float

    @property
    def direction(self) -> np.ndarray:
        """Unit vector from the subject to the light."""
        vector = np.array(self.towards, np.float32)
        return vector / np.linalg.norm(vector)


KEY = Light(towards=(-0.62, 0.62, 0.80), colour=(2.05, 1.83, 1.58), spread=17.0)
FILL = Light(towards=(0.85, 0.10, 0.75), colour=(0.34, 0.40, 0.50), spread=25.0)
RIM = Light(towards=(0.80, 0.55, -0.62), colour=(1.9, 1.75, 1.55), spread=12.0)
KICK = Light(towards=(-0.95, 0.15, -0.50), colour=(0.55, 0.72, 0.95), spread=12.0)
LIGHTS = (KEY, FILL, RIM, KICK)
SKY = np.array([0.38, 0.39, 0.42], np.float32)
GROUND = np.array([0.17, 0.125, 0.10], np.float32)
EYE = np.array([0.0, 0.0, 1.0], np.float32)


def visibility(
    points: np.ndarray,
    normals: np.ndarray,
    solid: np.ndarray,
    triangles: np.ndarray,
    rng: np.random.Generator,
    *,
    size: int = 420,
    samples: int = 8,
    sky_samples: int = 40,
) -> np.ndarray:
    """What each point sees past a solid: ``[V, 1 + lights]``, ambient first, then every light."""

    def seen(direction: np.ndarray) -> np.ndarray:
        z = direction / np.linalg.norm(direction)
        x = np.cross([0.0, 1.0, 0.01], z)
        x /= np.linalg.norm(x)
        frame = np.stack([x, np.cross(z, x), z], axis=1)
        turned = solid @ frame
        low, high = turned[:, :2].min(axis=0), turned[:, :2].max(axis=0)
        scale = (size - 4) / (high - low).max()

        def to_screen(some: np.ndarray) -> np.ndarray:
            screen = some.astype(np.float32)
            screen[:, 0] = 2 + (some[:, 0] - low[0]) * scale
            screen[:, 1] = 2 + (high[1] - some[:, 1]) * scale
            return screen

        shot = rasterise(to_screen(turned), triangles, size, cull=False)
        depth = shot.scatter(shot.interpolate(turned[:, 2:3])[:, 0], -1e3)
        mine = points @ frame
        at = np.clip(np.round(to_screen(mine)[:, :2]).astype(int), 0, size - 1)
        return (mine[:, 2] > depth[at[:, 1], at[:, 0]] - 0.04).astype(np.float32)

    columns = []
    total = np.zeros(len(points), np.float32)
    weight = np.full(len(points), 1e-6, np.float32)
    for k in range(sky_samples):
        height = 1.0 - 2.0 * (k + 0.5) / sky_samples  # Fibonacci sphere
        angle = k * 2.399963
        ring = np.sqrt(1 - height * height)
        direction = np.array([ring * np.cos(angle), height, ring * np.sin(angle)])
        cosine = np.maximum(normals @ direction, 0.0)
        total += seen(direction) * cosine
        weight += cosine
    columns.append(total / weight)
    for light in LIGHTS:
        share = np.zeros(len(points), np.float32)
        for _ in range(samples):
            jitter = rng.normal(0, np.deg2rad(light.spread) * 0.6, 3)
            share += seen(light.direction + jitter)
        columns.append(share / samples)
    return np.stack(columns, axis=1).astype(np.float32)


def diffuse(
    normals: np.ndarray, seen: np.ndarray, *, wrap: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> np.ndarray:
    """Light that arrives at ``[P]`` surface points: ``[P,3]``; ``wrap`` bends it per colour."""
    out = (SKY + GROUND) / 2 + np.outer(normals[:, 1], (SKY - GROUND) / 2)
    # Light that has been in the skin before comes back redder from the folds.
    ambient = seen[:, 0:1] ** np.array([0.8, 1.0, 1.1], np.float32)
    out = out * ambient
    bend = np.array(wrap, np.float32)
    for k, light in enumerate(LIGHTS):
        cosine = (normals @ light.direction)[:, None]
        lit = np.maximum(cosine + bend, 0.0) / (1.0 + bend)
        shadow = seen[:, k + 1 : k + 2] ** (1.0 - 0.5 * bend)
        out = out + lit * shadow * np.array(light.colour, np.float32)
    return out.astype(np.float32)


def gloss(
    normals: np.ndarray, view: np.ndarray, seen: np.ndarray, roughness: float, f0: float = 0.028
) -> np.ndarray:
    """Reflected light ``[P,3]`` (GGX, softboxes widen the lobe)."""
    out = np.zeros((len(normals), 3), np.float32)
    nv = np.clip((normals * view).sum(axis=1), 0.05, 1.0)
    for k, light in enumerate(LIGHTS):
        half = view + light.direction
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        nh = np.clip((normals * half).sum(axis=1), 0.0, 1.0)
        nl = np.clip(normals @ light.direction, 0.0, 1.0)
        alpha = roughness**2 + np.tan(np.deg2rad(light.spread)) * 0.22
        lobe = alpha**2 / (np.pi * (nh**2 * (alpha**2 - 1) + 1) ** 2)
        vh = np.clip((view * half).sum(axis=1), 0.0, 1.0)
        fresnel = f0 + (1 - f0) * (1 - vh) ** 5
        g = 1.0 / (nl * (2 - alpha) + alpha) / (nv * (2 - alpha) + alpha)
        amount = lobe * fresnel * g * nl * seen[:, k + 1]
        out += amount[:, None] * np.array(light.colour, np.float32)
    edge = (1.0 - nv) ** 4 * seen[:, 0]
    return out + 0.10 * edge[:, None] * SKY


def through_skin(picture: np.ndarray, mask: np.ndarray, pixel: float) -> np.ndarray:
    """Blur arriving light as skin does: red farthest (``pixel`` per eye distance)."""
    cover = mask.astype(np.float32)
    out = np.empty_like(picture)
    widths = ((0.011, 0.032, 0.5), (0.006, 0.018, 0.55), (0.004, 0.010, 0.6))
    for channel, (near, far, share) in enumerate(widths):
        plane = picture[..., channel] * cover
        parts = []
        for sigma in (near * pixel, far * pixel):
            parts.append(
                cv2.GaussianBlur(plane, (0, 0), sigma)
                / np.maximum(cv2.GaussianBlur(cover, (0, 0), sigma), 1e-3)
            )
        out[..., channel] = share * parts[0] + (1 - share) * parts[1]
    return out


def view_of(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Unit vectors from world points ``[P,3]`` to the camera."""
    view = np.array([0.0, 0.0, camera.distance], np.float32) - points
    return view / np.linalg.norm(view, axis=1, keepdims=True)
