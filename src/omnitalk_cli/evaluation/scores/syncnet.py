"""SyncNet (Chung and Zisserman 2016): offset and confidence as papers report them (Sync-C).

The network has the public layout of ``syncnet_v2``, so that its published state dict loads once it
is stored as safetensors. Faces are cut out by our landmarks instead of the original's detector.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy.fft import dct
from scipy.ndimage import median_filter
from scipy.signal import resample_poly
from torch import Tensor, nn

from omnitalk_cli.errors import SetupError
from omnitalk_cli.evaluation.scores.footage import Footage, part_of_sound
from omnitalk_cli.evaluation.scores.models import SYNC
from omnitalk_cli.evaluation.scores.result import Score
from omnitalk_cli.types import SAMPLE_RATE, Float

RATE, FPS, SIDE = 16_000, 25, 224
LARGEST = 15  # frames either way
_FRAMES, _STEPS = 5, 20  # of a window: pictures, and MFCC frames of 10 ms
_CROP = 0.4  # room around the face's box, in halves of its side
_BATCH = 16


def _audio_layers() -> nn.Sequential:
    """MFCC ``[B,1,13,20]`` to ``[B,512,1,1]``."""
    layers: list[nn.Module] = []

    def block(into: int, out: int, kernel: tuple[int, int], padding: int) -> None:
        layers.extend(
            [nn.Conv2d(into, out, kernel, padding=padding), nn.BatchNorm2d(out), nn.ReLU()]
        )

    block(1, 64, (3, 3), 1)
    layers.append(nn.MaxPool2d(1, stride=1))
    block(64, 192, (3, 3), 1)
    layers.append(nn.MaxPool2d(3, stride=(1, 2)))
    for into, out in ((192, 384), (384, 256), (256, 256)):
        block(into, out, (3, 3), 1)
    layers.append(nn.MaxPool2d(3, stride=2))
    block(256, 512, (5, 4), 0)
    return nn.Sequential(*layers)


def _picture_layers() -> nn.Sequential:
    """Pictures ``[B,3,5,224,224]`` (BGR, 0…255) to ``[B,512,1,1,1]``."""
    layers: list[nn.Module] = []

    def block(
        into: int, out: int, kernel: tuple[int, int, int], stride: int = 1, padding: int = 0
    ) -> None:
        conv = nn.Conv3d(into, out, kernel, (1, stride, stride), (0, padding, padding))
        layers.extend([conv, nn.BatchNorm3d(out), nn.ReLU()])

    def pool(padding: int = 0) -> None:
        layers.append(nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, padding, padding)))

    block(3, 96, (5, 7, 7), stride=2)
    pool()
    block(96, 256, (1, 5, 5), stride=2, padding=1)
    pool(padding=1)
    for _ in range(3):
        block(256, 256, (1, 3, 3), padding=1)
    pool()
    block(256, 512, (1, 6, 6))
    return nn.Sequential(*layers)


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


class SyncNet(nn.Module):
    """Two networks that map a fifth of a second of sound and of face to nearby vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud, self.netfcaud = _audio_layers(), _head()
        self.netcnnlip, self.netfclip = _picture_layers(), _head()

    def hear(self, mfcc: Tensor) -> Tensor:
        """``[B,1,13,20]`` to ``[B,1024]``."""
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1))

    def see(self, pictures: Tensor) -> Tensor:
        """``[B,3,5,224,224]`` to ``[B,1024]``."""
        return self.netfclip(self.netcnnlip(pictures).flatten(1))

    @classmethod
    def load(cls, path: Path) -> SyncNet:
        """From safetensors with the published names. Raises SetupError when they do not fit."""
        network = cls()
        try:
            network.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise SetupError(f"{path}: is not {SYNC.about} ({reason})") from error
        return network.eval().requires_grad_(False)


def mfcc(audio: Float) -> Float:
    """13 cepstra every 10 ms of ``audio`` [S] at 16 kHz (−1…1), ``[13,n]``.

    As the package ``python_speech_features`` makes them of 16 bit samples with its own settings:
    pre-emphasis 0.97, windows of 25 ms without taper, 26 mel filters, lifter 22, energy first.
    """
    sound = np.round(np.clip(np.asarray(audio, np.float64), -1, 1) * 32767)
    sound = np.append(sound[:1], sound[1:] - 0.97 * sound[:-1])
    width, hop, size = RATE // 40, RATE // 100, 512
    count = 1 + max(0, int(np.ceil((len(sound) - width) / hop)))
    sound = np.pad(sound, (0, max(0, (count - 1) * hop + width - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(sound, width)[::hop][:count]
    power = np.abs(np.fft.rfft(frames, size)) ** 2 / size
    tiny = np.finfo(float).eps
    energy = np.log(np.maximum(power.sum(axis=1), tiny))
    bands = np.log(np.maximum(power @ _filters(26, size).T, tiny))
    cepstra = dct(bands, type=2, axis=1, norm="ortho")[:, :13]
    cepstra *= 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    cepstra[:, 0] = energy
    return np.asarray(cepstra.T, np.float32)


def _filters(count: int, size: int) -> NDArray[np.float64]:
    """Triangles on the mel scale over the bins of a Fourier transform, ``[count, size/2+1]``."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, count + 2) / 2595) - 1)
    edges = np.floor((size + 1) * hertz / RATE)
    bins = np.arange(size // 2 + 1)[None]
    left, middle, right = (edges[i : i + count, None] for i in range(3))
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    inside = (bins >= left) & (bins < right)
    return np.where(inside, np.where(bins < middle, rising, falling), 0.0)


def face_pictures(footage: Footage) -> NDArray[np.uint8]:
    """The face at 25 pictures per second, ``[n,224,224,3]`` BGR, cut out as for SyncNet."""
    assert footage.landmarks is not None
    low, high = footage.landmarks[:, :, :2].min(axis=1), footage.landmarks[:, :, :2].max(axis=1)
    half = median_filter((high - low).max(axis=1) / 2, 13, mode="nearest")
    centre = median_filter((high + low) / 2, (13, 1), mode="nearest")
    times = np.arange(0, len(footage.frames) / footage.rate, 1 / FPS)
    places = np.minimum((times * footage.rate).round().astype(int), len(footage.frames) - 1)
    found = []
    for place in places:
        picture = cv2.imdecode(np.frombuffer(footage.frames[place], np.uint8), cv2.IMREAD_COLOR)
        side = half[place] * (2 + 2 * _CROP)
        corner = centre[place] - half[place] * np.array([1 + _CROP, 1.0])
        scale = SIDE / side
        matrix = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
        found.append(cv2.warpAffine(picture, matrix, (SIDE, SIDE), borderValue=(110, 110, 110)))
    return np.stack(found)


@torch.inference_mode()
def distances(network: SyncNet, pictures: NDArray[np.uint8], cepstra: Float) -> Float:
    """Mean distance of faces from the sound that is −15…15 frames away, ``[31]``.

    Raises ValueError when there are fewer pictures than a second has.
    """
    # As many quarters of 40 ms as the sound has; its last window of 25 ms is cut off.
    count = min(len(pictures), (cepstra.shape[1] + 1) // 4) - _FRAMES
    if count < FPS:
        raise ValueError(f"{max(count, 0) / FPS:.1f} s are too short for SyncNet")
    stack = torch.from_numpy(pictures)
    sound = torch.from_numpy(cepstra)
    seen, heard = [], []
    for first in range(0, count, _BATCH):
        starts = range(first, min(first + _BATCH, count))
        faces = torch.stack([stack[i : i + _FRAMES] for i in starts]).float()
        seen.append(network.see(faces.permute(0, 4, 1, 2, 3)))
        heard.append(
            network.hear(torch.stack([sound[None, :, 4 * i : 4 * i + _STEPS] for i in starts]))
        )
    faces, sounds = torch.cat(seen), torch.cat(heard)
    padded = nn.functional.pad(sounds, (0, 0, LARGEST, LARGEST))
    rows = [
        nn.functional.pairwise_distance(faces, padded[shift : shift + count]).mean()
        for shift in range(2 * LARGEST + 1)
    ]
    return np.asarray(torch.stack(rows).numpy(), np.float32)


def syncnet_scores(network: SyncNet, footage: Footage, why: str) -> dict[str, Score]:
    """``sync_offset`` (frames, positive: the lips are late) and ``sync_confidence``."""
    names = ("sync_offset", "sync_confidence")
    sound = part_of_sound(footage)
    if footage.landmarks is None or not footage.frames or sound is None:
        return {name: Score.missing(why) for name in names}
    heard = resample_poly(sound.astype(np.float64), 2, 3).astype(np.float32)
    assert SAMPLE_RATE * 2 == RATE * 3
    try:
        found = distances(network, face_pictures(footage), mfcc(heard))
    except ValueError as error:
        return {name: Score.missing(str(error)) for name in names}
    best = int(found.argmin())
    offset, confidence = LARGEST - best, float(np.median(found) - found[best])
    note = "faces cut out by landmarks"
    return {
        "sync_offset": Score(value=float(offset), model="SyncNet v2", note=note),
        "sync_confidence": Score(value=confidence, model="SyncNet v2", note=note),
    }
