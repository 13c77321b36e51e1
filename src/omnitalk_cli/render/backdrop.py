"""Another background behind the person: blurred, one colour, or a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.render.base import Matte, Picture
from omnitalk_cli.types import Float

GREEN = (0, 177, 64)  # the usual green of studio screens, #00b140
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SMALL = 200  # pixels: colours around edges are estimated in a picture smaller than this
REACH = 0.02  # of the shorter side: how far around an edge pixel they are looked for
SOFTNESS = 0.022  # of the shorter side: standard deviation of the blur
CLEAR, SOLID = 8, 246  # matte values below and above which a pixel is one of the two


@dataclass(frozen=True, kw_only=True)
class Background:
    """``keep`` (as filmed), ``blur``, ``colour`` (RGB 0…255) or ``image`` (``path``)."""

    kind: Literal["keep", "blur", "colour", "image"]
    colour: tuple[int, int, int] = GREEN
    path: Path | None = None


def parse_background(text: str) -> Background:
    """``keep``, ``blur``, ``green``, ``#rrggbb`` or the name of a picture.

    Raises UsageError for anything else, InputError when the picture is not there.
    """
    word = text.strip().lower()
    if word == "keep":
        return Background(kind="keep")
    if word == "blur":
        return Background(kind="blur")
    if word == "green":
        return Background(kind="colour")
    if re.fullmatch(r"#[0-9a-f]{6}", word):
        red, green, blue = bytes.fromhex(word[1:])
        return Background(kind="colour", colour=(red, green, blue))
    path = Path(text)
    if path.suffix.lower() not in PICTURES:
        raise UsageError(
            f"--background {text}: give keep, blur, green, a colour such as #20304a "
            f"or a picture ({', '.join(PICTURES)})"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such picture for the background")
    return Background(kind="image", path=path)


class Backdrop:
    """Lays persons over one background, in pictures of ``width`` × ``height``."""

    def __init__(self, background: Background, *, width: int, height: int) -> None:
        """Raises InputError when the background's picture cannot be read."""
        self._still: NDArray[np.uint8] | None = None
        if background.kind == "colour":
            self._still = np.full((height, width, 3), background.colour, np.uint8)
        elif background.kind == "image":
            assert background.path is not None
            self._still = cover(read_picture(background.path), width, height)

    def lay(self, picture: Picture, matte: Matte) -> Picture:
        """``picture`` [H,W,3] with everything but the person of ``matte`` [H,W] replaced.

        Edge pixels show a mixture of person and old background. Both are estimated from their
        surroundings (Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021), so that
        no rim of the old background stays around the hair.
        """
        height, width = matte.shape
        small = _reduced(picture).astype(np.float32)
        share = _reduced(matte).astype(np.float32) / 255
        short = min(share.shape)
        behind = self._still
        if behind is None:
            soft = _blurred(small, share, SOFTNESS * short)
            behind = np.asarray(cv2.resize(soft, (width, height)), np.uint8)
        out = behind.copy()
        cv2.copyTo(picture, (matte > CLEAR).view(np.uint8), out)
        edge = np.flatnonzero((matte > CLEAR) & (matte < SOLID))
        rows, columns = np.divmod(edge, width)
        scale = share.shape[0] / height
        near = np.minimum((rows * scale).astype(np.intp), share.shape[0] - 1) * share.shape[1]
        near += np.minimum((columns * scale).astype(np.intp), share.shape[1] - 1)
        reach = 2 * max(1, round(REACH * short)) + 1
        rest = 1 - share
        # Cubed: purer pixels count more.
        person = _flat(_spread(small, share * share * share, reach)).take(near, axis=0)
        old = _flat(_spread(small, rest * rest * rest, reach)).take(near, axis=0)
        alpha = matte.ravel().take(edge)[:, None].astype(np.float32) / 255
        seen = _flat(picture).take(edge, axis=0)
        person += alpha * (seen - alpha * person - (1 - alpha) * old)
        mixed = alpha * person + (1 - alpha) * _flat(behind).take(edge, axis=0)
        _flat(out)[edge] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
        return out


def _reduced(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halved until the shorter side is below ``SMALL`` pixels."""
    while min(picture.shape[:2]) >= SMALL:
        height, width = picture.shape[0] // 2, picture.shape[1] // 2
        even = picture[: 2 * height, : 2 * width]
        picture = np.asarray(
            cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8
        )
    return picture


def _flat(picture: NDArray[Any]) -> NDArray[Any]:
    """The pixels [H·W,3] of a picture: indexing them by one number is several times faster."""
    return picture.reshape(-1, 3)


def cover(picture: Picture, width: int, height: int) -> Picture:
    """``picture`` scaled to fill ``width`` × ``height``, what sticks out cut off on both sides."""
    rows, columns = picture.shape[:2]
    scale = max(width / columns, height / rows)
    size = (max(width, round(columns * scale)), max(height, round(rows * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(picture, size, interpolation=method)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(scaled[top : top + height, left : left + width], np.uint8)


def read_picture(path: Path) -> Picture:
    """RGB of a picture file. Raises InputError when it cannot be read."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or '').lower()})") from error
    found = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if found is None:
        raise InputError(f"{path}: is no picture that can be read; give a PNG or JPEG file")
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def _spread(picture: Float, weight: Float, reach: int) -> Float:
    """Mean colours [h,w,3] around every pixel of where ``weight`` [h,w] is."""
    window = (reach, reach)
    weight = weight + 1e-5
    total = cv2.blur(weight, window)
    return np.asarray(cv2.blur(picture * weight[..., None], window) / total[..., None])


def _blurred(picture: Float, person: Float, sigma: float) -> NDArray[np.uint8]:
    """The background without the person, out of focus [h,w,3].

    The person's place and its rim are left out: their colours would glow around the head.
    """
    rim = 2 * max(1, round(0.5 * sigma)) + 1
    free = 1 - cv2.dilate(person, np.ones((rim, rim), np.uint8))
    # Behind the person nothing is seen: far neighbours fill what near ones cannot.
    far = _gaussian(picture, free, 6 * sigma, 1e-6)
    weight = cv2.GaussianBlur(free, (0, 0), sigma)[..., None]
    near = cv2.GaussianBlur(picture * free[..., None], (0, 0), sigma)
    filled = (near + 0.05 * far) / (weight + 0.05)
    return np.asarray(np.clip(filled + 0.5, 0, 255), np.uint8)


def _gaussian(picture: Float, weight: Float, sigma: float, floor: float) -> Float:
    """Normalised Gaussian mean [h,w,3], computed 4 times smaller."""
    size = (max(2, picture.shape[1] // 4), max(2, picture.shape[0] // 4))
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    tiny = cv2.resize(picture * weight[..., None], size, interpolation=cv2.INTER_AREA)
    total = cv2.GaussianBlur(share, (0, 0), sigma / 4)[..., None] + floor
    mean = cv2.GaussianBlur(tiny, (0, 0), sigma / 4) / total
    return np.asarray(cv2.resize(mean, picture.shape[1::-1]))
