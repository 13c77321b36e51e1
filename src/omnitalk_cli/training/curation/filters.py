"""The fine filters: what is measured of a clip, and which of it is out of its limits, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnitalk_cli.face.codes import CODE_INDEX
from omnitalk_cli.face.smoothing import gaps
from omnitalk_cli.training.curation.quality import SoundQuality
from omnitalk_cli.training.curation.settings import CurationSettings
from omnitalk_cli.training.curation.tracks import TrackedFace
from omnitalk_cli.training.curation.transcripts import characters


@dataclass(frozen=True, kw_only=True)
class FaceMeasures:
    """A face in a clip: ``share`` of the picture's area that its box takes (median), its height in
    ``pixels``, its middle (``x``, ``y``) as shares of the picture, ``lost`` share of pictures and
    ``longest_gap`` seconds in which it is not seen; ``yaw`` and ``pitch`` are the 95 % quantiles
    of the turn (degrees), ``spread`` the standard deviations of yaw, pitch and roll."""

    share: float
    pixels: float
    x: float
    y: float
    lost: float
    longest_gap: float
    yaw: float
    pitch: float
    spread: tuple[float, float, float]


def measure_face(face: TrackedFace) -> FaceMeasures:
    """What the filters need to know of ``face``, which is cut to the clip."""
    picture = face.crop.source_width * face.crop.source_height
    angles = np.degrees(
        face.codes[:, [CODE_INDEX["headYaw"], CODE_INDEX["headPitch"], CODE_INDEX["headRoll"]]]
    )
    middle = np.median(face.boxes[:, :2] + face.boxes[:, 2:] / 2, axis=0)
    longest = max((after - lost for lost, after in gaps(face.found)), default=0)
    turned = np.quantile(np.abs(angles), 0.95, axis=0)
    spread = angles.std(axis=0)
    return FaceMeasures(
        share=float(np.median(face.boxes[:, 2] * face.boxes[:, 3])) / max(picture, 1),
        pixels=float(np.median(face.boxes[:, 3])),
        x=float(middle[0]) / max(face.crop.source_width, 1),
        y=float(middle[1]) / max(face.crop.source_height, 1),
        lost=float((~face.found).mean()),
        longest_gap=longest / face.fps,
        yaw=float(turned[0]),
        pitch=float(turned[1]),
        spread=(float(spread[0]), float(spread[1]), float(spread[2])),
    )


def face_faults(face: FaceMeasures, limits: CurationSettings) -> list[str]:
    """Why the face does not do, in words; [] when it does."""
    faults = []
    if face.share < limits.min_face_share:
        faults.append(
            f"the face fills {face.share:.2%} of the picture (at least {limits.min_face_share:.2%})"
        )
    if face.share > limits.max_face_share:
        faults.append(
            f"the face fills {face.share:.0%} of the picture (at most {limits.max_face_share:.0%})"
        )
    if face.pixels < limits.min_face_pixels:
        faults.append(
            f"the face is {face.pixels:.0f} pixels high (at least {limits.min_face_pixels:g})"
        )
    if face.lost > limits.max_lost_share:
        faults.append(
            f"the face is lost in {face.lost:.0%} of the pictures "
            f"(at most {limits.max_lost_share:.0%})"
        )
    if face.longest_gap > limits.max_lost_seconds:
        faults.append(
            f"the face is lost for {face.longest_gap:.1f} s (at most {limits.max_lost_seconds:g} s)"
        )
    if face.yaw > limits.max_yaw:
        faults.append(f"the head turns aside by {face.yaw:.0f}° (at most {limits.max_yaw:g}°)")
    if face.pitch > limits.max_pitch:
        faults.append(
            f"the head turns up or down by {face.pitch:.0f}° (at most {limits.max_pitch:g}°)"
        )
    return faults


def sound_faults(sound: SoundQuality, limits: CurationSettings) -> list[str]:
    """Why the sound does not do, in words; [] when it does."""
    faults = []
    if sound.level < limits.min_level:
        faults.append(f"loudness {sound.level:.0f} dB (at least {limits.min_level:g} dB)")
    if sound.clipped > limits.max_clipped:
        faults.append(
            f"{sound.clipped:.2%} of the samples are at full scale (at most "
            f"{limits.max_clipped:.2%})"
        )
    if sound.ovrl is not None and limits.audio_quality != "none":
        if sound.ovrl < limits.min_dnsmos:
            faults.append(f"DNSMOS OVRL {sound.ovrl:.2f} (at least {limits.min_dnsmos:g})")
    return faults


def pace_of(text: str, seconds: float) -> float | None:
    """Seconds per character of a text, None for a text without any."""
    count = characters(text)
    return seconds / count if count else None


def pace_faults(text: str, language: str, seconds: float, limits: CurationSettings) -> list[str]:
    """Why text and sound cannot belong together, in words; [] when they may."""
    pace = pace_of(text, seconds)
    if pace is None:
        return ["the text has no letters"]
    low, high = limits.pace(language)
    if low <= pace <= high:
        return []
    return [f"{pace:.3f} s per character of {language} ({low:g} to {high:g} s)"]
