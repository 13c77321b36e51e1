"""What the renderer learns from a person: movement beside the mesh, and the look of a part."""

import cv2
import numpy as np
import pytest

from omnitalk_cli.evaluation.reenactment import ssim
from omnitalk_cli.render.appearance import COMPONENTS, learn_appearance
from omnitalk_cli.render.bank import sharpened
from omnitalk_cli.render.compositor import blend_coarse, tinted
from omnitalk_cli.render.features import PLACE, followed, past_frames
from omnitalk_cli.render.residual import (
    FLOW_SIDE,
    SHARE,
    SHRINK,
    SIDE,
    learn_residual,
    usual_residual,
)


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
    residual = learn_residual(pairs, draw, features, 2 * FLOW_SIDE, np.arange(60))
    assert residual is not None
    one = np.array([1, 0, 0], np.float32)
    flow = residual.flow(one, 0 * one, 0) - residual.flow(0 * one, 0 * one, 0)
    assert flow.shape == (SIDE, SIDE, 2)
    inner = flow[8:-8, 8:-8]
    # Back to where it came from, in pixels of a picture twice as large.
    assert inner[..., 0].mean() == pytest.approx(-4 * SHRINK, rel=0.2)
    assert abs(inner[..., 1].mean()) < 0.2
    back = residual.flow(0 * one, one, 0) - residual.flow(0 * one, 0 * one, 0)
    assert np.abs(back + flow).max() < 1e-4
    other = np.array([0, 1, 0], np.float32)
    others = residual.flow(other, 0 * other, 0) - residual.flow(0 * other, 0 * other, 0)
    assert np.abs(others[8:-8, 8:-8]).mean() < 0.3


def test_no_residual_of_a_few_pairs_and_none_where_the_person_is_not() -> None:
    features = np.eye(30, 4, dtype=np.float32)
    plain = texture(2, FLOW_SIDE, 4)

    def draw(target: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return shifted(plain, 3.0, 0), plain, np.zeros((FLOW_SIDE, FLOW_SIDE), np.float32)

    assert learn_residual([(0, 1)], draw, features, 512, np.arange(30)) is None
    residual = learn_residual(
        [(k, (k + 1) % 30) for k in range(30)], draw, features, 512, np.arange(30)
    )
    assert residual is not None
    assert np.abs(residual.flow(features[0], features[1], 1)).max() < 1e-3


def test_what_a_base_picture_is_off_by_is_told_from_what_the_features_say() -> None:
    rng = np.random.default_rng(4)
    features = rng.standard_normal((80, 3)).astype(np.float32)
    keys = np.array([0, 20, 40, 60])
    off = {0: 3.0, 20: -3.0, 40: 1.0, 60: -1.0}  # pixels down, whatever the target
    plain = texture(5, FLOW_SIDE, 4)
    person = np.ones((FLOW_SIDE, FLOW_SIDE), np.float32)

    def draw(target: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        step = features[target, 0] - features[source, 0]
        return shifted(plain, 2 * step, 0), shifted(plain, 0, off[source]), person

    pairs = [(k, int(keys[k % 4])) for k in range(80)]
    residual = learn_residual(pairs, draw, features, FLOW_SIDE, keys)
    assert residual is not None
    wanted, places = np.zeros(3, np.float32), []
    for key, source in enumerate(keys.tolist()):
        flow = residual.flow(wanted, features[source], key)[8:-8, 8:-8]
        assert flow[..., 1].mean() == pytest.approx(off[source], rel=0.5)
        places.append(flow[..., 0].mean() - 2 * features[source, 0])
    # From whichever base picture it is drawn, what is beside the mesh ends up in the same place.
    assert np.ptp(places) < 0.35 * np.ptp(2 * features[keys, 0])


def test_the_body_follows_late_and_knows_a_bounded_past() -> None:
    jump = np.repeat([0.0, 1.0], 60)[:, None].astype(np.float32)
    slow = followed(jump, fps=25)
    assert (slow[:60] == 0).all() and (np.diff(slow[60:, 0]) >= -1e-6).all()
    assert slow[60, 0] < 0.25 and slow[110, 0] == pytest.approx(1, abs=1e-5)
    values = np.random.default_rng(6).standard_normal((200, 3)).astype(np.float32)
    past = past_frames(25)
    whole = followed(values, fps=25)[100:164]
    assert np.allclose(followed(values[100 - past : 164], fps=25)[past:], whole, atol=1e-6)


def test_without_enough_pairs_the_shoulders_follow_by_a_share() -> None:
    size, scale = 512, 80.0
    residual = usual_residual(np.array([256.0, 200.0]), scale, size, keys=2)
    step = np.zeros(len(residual.scale), np.float32)
    step[PLACE] = 20  # per cent of the eye distance to the right
    flow = residual.flow(step, 0 * step, 1)
    assert np.abs(flow[: SIDE // 2]).max() == 0  # the head has its own motion
    assert flow[-1, :, 0] == pytest.approx(-SHARE * 0.2 * scale, rel=1e-4)
    assert (np.diff(flow[:, 0, 0]) <= 1e-6).all()
    assert np.abs(np.diff(flow[:, 0, 0])).max() < 1.5  # pixels per cell of 8: nothing tears
    assert np.abs(flow[..., 1]).max() == 0


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
