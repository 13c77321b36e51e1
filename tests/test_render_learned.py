"""What the renderer learns from a person: movement beside the mesh, and the look of a part."""

import cv2
import numpy as np
import pytest

from omnitalk_cli.evaluation.reenactment import ssim
from omnitalk_cli.render.appearance import COMPONENTS, learn_appearance
from omnitalk_cli.render.bank import sharpened
from omnitalk_cli.render.compositor import blend_coarse, tinted
from omnitalk_cli.render.residual import FLOW_SIDE, SHRINK, SIDE, learn_residual


def texture(seed: int, side: int, blur: float) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((side, side, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), blur)
    return np.clip(128 + 60 * soft / soft.std(), 0, 255).astype(np.uint8)


def shifted(picture: np.ndarray, x: float, y: float) -> np.ndarray:
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(picture, move, picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def test_movement_beside_the_mesh_follows_the_features() -> None:
    # Everything the mesh leaves moves 2 pixels to the right per unit of the first feature.
    rng = np.random.default_rng(0)
    features = rng.standard_normal((60, 3)).astype(np.float32)
    plain = texture(1, FLOW_SIDE, 4)
    person = np.ones((FLOW_SIDE, FLOW_SIDE), np.float32)

    def draw(target: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        step = features[target, 0] - features[source, 0]
        return shifted(plain, 2 * step, 0), plain, person

    pairs = [(k, (k + 7) % 60) for k in range(60)]
    residual = learn_residual(pairs, draw, features, 2 * FLOW_SIDE)
    assert residual is not None
    one = np.array([1, 0, 0], np.float32)
    flow = residual.flow(one, 0 * one)
    assert flow.shape == (SIDE, SIDE, 2)
    inner = flow[8:-8, 8:-8]
    # Back to where it came from, in pixels of a picture twice as large.
    assert inner[..., 0].mean() == pytest.approx(-4 * SHRINK, rel=0.15)
    assert abs(inner[..., 1].mean()) < 0.2
    assert np.abs(residual.flow(0 * one, one) + flow).max() < 1e-4
    other = np.array([0, 1, 0], np.float32)
    assert np.abs(residual.flow(other, 0 * other)[8:-8, 8:-8]).mean() < 0.3


def test_no_residual_of_a_few_pairs_and_none_where_the_person_is_not() -> None:
    features = np.eye(30, 4, dtype=np.float32)
    plain = texture(2, FLOW_SIDE, 4)

    def draw(target: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return shifted(plain, 3.0, 0), plain, np.zeros((FLOW_SIDE, FLOW_SIDE), np.float32)

    assert learn_residual([(0, 1)], draw, features, 512) is None
    residual = learn_residual([(k, (k + 1) % 30) for k in range(30)], draw, features, 512)
    assert residual is not None
    assert np.abs(residual.flow(features[0], features[1])).max() < 1e-3


def test_a_look_is_corrected_towards_what_the_features_say() -> None:
    rng = np.random.default_rng(3)
    features = rng.standard_normal((120, 4)).astype(np.float32)
    pattern = rng.standard_normal((6, 8, 3)).astype(np.float32)
    textures = 128 + 25 * features[:, 0, None, None, None] * pattern
    textures += 2 * rng.standard_normal(textures.shape)
    look = learn_appearance(np.clip(textures, 0, 255).astype(np.uint8), features)
    assert look is not None and look.trust.shape == (COMPONENTS,)
    assert ((look.trust >= 0) & (look.trust <= 1)).all() and look.trust[0] > 0.8
    wanted = np.array([1.0, 0, 0, 0], np.float32)
    source = int(features[:, 0].argmin())
    fixed = textures[source] + look.correction(wanted, source)
    assert np.abs(fixed - (128 + 25 * pattern)).mean() < 5
    assert np.abs(look.correction(features[5], 5)).mean() < 3
    # Beyond what the bank has shown nothing is invented.
    far = look.predict(np.array([[50.0, 0, 0, 0]], np.float32))
    assert (far <= look.actual.max(axis=0)).all() and (far >= look.actual.min(axis=0)).all()


def test_coarse_blending_keeps_the_fine_detail_of_the_first() -> None:
    fine = texture(4, 64, 0.6)
    bright, dark = (np.full_like(fine, level) for level in (150, 90))
    assert blend_coarse(bright, dark, unit=1.0).mean() == pytest.approx(120, abs=1)
    mixed = blend_coarse(fine, np.full_like(fine, 128), unit=1.0)
    sharpness = [cv2.Laplacian(p[..., 0], cv2.CV_32F).var() for p in (mixed, fine)]
    assert sharpness[0] > 0.85 * sharpness[1]
    assert (tinted(dark, np.full((2, 2, 3), 20, np.float32)) == 110).all()


def test_sharpening_makes_up_for_reading_between_pixels() -> None:
    plain = texture(5, 256, 1.0)
    read = [shifted(p, 0.5, 0.5) for p in (plain, sharpened(plain))]
    sharpness = [cv2.Laplacian(p[..., 0], cv2.CV_32F).var() for p in (plain, *read)]
    assert sharpness[1] < 0.6 * sharpness[0]
    assert 1.3 * sharpness[1] < sharpness[2] < 1.1 * sharpness[0]


def test_structural_similarity_is_one_of_equals_and_falls_with_noise() -> None:
    grey = texture(6, 64, 2)[..., 0]
    noise = np.random.default_rng(0).normal(0, 20, grey.shape)
    noisy = np.clip(grey + noise, 0, 255).astype(np.uint8)
    assert ssim(grey, grey) == pytest.approx(1.0)
    assert ssim(noisy, grey) < 0.9
    assert ssim(np.clip(grey.astype(int) + 10, 0, 255).astype(np.uint8), grey) > ssim(noisy, grey)
