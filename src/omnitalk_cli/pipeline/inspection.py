"""A features or performance file in words and in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation.motion import count_blinks, lip_opening
from omnitalk_cli.face.codes import CODE_INDEX, GAZE, ROTATION
from omnitalk_cli.types import MEL_RATE, Float, Performance, Reference
from omnitalk_cli.weights.store import Header, read_header

_SILENT_MEL = -9.0  # log-mel of near silence


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a file is and holds: ``kind`` is reference, performance or weights.

    ``facts`` are JSON-able; ``lines`` the same for people; ``picture`` needs a mel and codes.
    """

    kind: str
    facts: dict[str, Any]
    lines: tuple[str, ...]
    reference: Reference | None = None
    performance: Performance | None = None


def inspect_file(path: Path) -> Inspection:
    """What is in ``path``. Raises InputError when it is none of our files."""
    header = read_header(path)
    from omnitalk_cli.pipeline import performance_store, reference_store

    kind = header.metadata.get("format", "")
    if kind.startswith(reference_store.FORMAT):
        reference = reference_store.load_reference(path)
        return Inspection(
            kind="reference", facts=reference_facts(reference), reference=reference,
            lines=tuple(reference_lines(reference)),
        )  # fmt: skip
    if kind.startswith(performance_store.FORMAT):
        performance = performance_store.load_performance(path)
        return Inspection(
            kind="performance", facts=performance_facts(performance), performance=performance,
            lines=tuple(performance_lines(performance)),
        )  # fmt: skip
    if kind.startswith("omnitalk-"):
        return Inspection(
            kind="weights", facts=_weights_facts(header), lines=tuple(_weights_lines(header))
        )
    raise InputError(f"{path}: is neither a features nor a performance file of omnitalk")


def reference_facts(reference: Reference) -> dict[str, Any]:
    """The figures of a reference, JSON-able."""
    return {
        "kind": "reference",
        "source": reference.source_name,
        "source_sha256": reference.source_sha256,
        "start_seconds": round(reference.start_seconds, 3),
        "seconds": round(reference.seconds, 3),
        "fps": round(reference.fps, 3),
        "frames": len(reference.frames),
        "frame_size": reference.frame_size,
        "picture_bytes": sum(map(len, reference.frames)) + sum(map(len, reference.mattes)),
        "face_pixels": round(reference.pose_frame.scale, 1),
        "transcript": reference.transcript,
        "language": reference.language,
        "words": len(reference.words),
        **motion_facts(reference.codes, reference.fps),
    }


def reference_lines(reference: Reference) -> list[str]:
    """The same in words."""
    facts = reference_facts(reference)
    words = f"{facts['words']} words timed" if facts["words"] else "words not timed"
    said = f'"{facts["transcript"]}" ({facts["language"]}, {words})'
    return [
        f"reference from {facts['source']}, {facts['seconds']:.2f} s from "
        f"{facts['start_seconds']:.2f} s on",
        f"pictures   {facts['frames']} of {facts['frame_size']} px at {facts['fps']:g} fps, "
        f"{facts['picture_bytes'] / 1e6:.1f} MB, eyes {facts['face_pixels']:.0f} px apart",
        f"transcript {said if facts['transcript'] else 'not known'}",
        *_motion_lines(facts),
    ]


def performance_facts(performance: Performance) -> dict[str, Any]:
    """The figures of a performance, JSON-able."""
    loud = performance.mel.mean(axis=1) > _SILENT_MEL
    return {
        "kind": "performance",
        "seconds": round(performance.seconds, 3),
        "speech_share": round(float(loud.mean()) if len(loud) else 0.0, 3),
        "segments": [
            {"text": part.text, "start": round(part.start, 3), "end": round(part.end, 3)}
            for part in performance.segments
        ],
        "settings": performance.settings,
        **motion_facts(performance.codes, MEL_RATE),
    }


def performance_lines(performance: Performance) -> list[str]:
    """The same in words."""
    facts = performance_facts(performance)
    return [
        f"performance of {facts['seconds']:.2f} s, {len(facts['segments'])} segments",
        *(f"  {part['start']:7.2f} - {part['end']:7.2f} s  {part['text'] or '(pause)'}"
          for part in facts["segments"]),
        f"made with  {_in_words(facts['settings'])}",
        *_motion_lines(facts),
    ]  # fmt: skip


def motion_facts(codes: Float, fps: float) -> dict[str, Any]:
    """Figures of the movement in ``codes`` [N,61] at ``fps``, JSON-able.

    Angles in degrees as 2nd and 98th percentile, lip opening in eye distances.
    """
    if len(codes) == 0:
        return {"yaw_degrees": [0.0, 0.0], "pitch_degrees": [0.0, 0.0], "roll_degrees": [0.0, 0.0],
                "lips_apart_mean": 0.0, "lips_apart_peak": 0.0, "blinks": 0,
                "blinks_per_minute": 0.0, "gaze_degrees": 0.0}  # fmt: skip
    angles = np.degrees(codes[:, ROTATION])
    spans = {
        f"{name}_degrees": [round(float(np.quantile(angles[:, k], q)), 1) for q in (0.02, 0.98)]
        for k, name in enumerate(("pitch", "yaw", "roll"))
    }
    mouth = lip_opening(codes)
    blinks = count_blinks(codes, fps)
    return {
        **spans,
        "lips_apart_mean": round(float(mouth.mean()), 3),
        "lips_apart_peak": round(float(np.quantile(mouth, 0.98)), 3),
        "blinks": blinks,
        "blinks_per_minute": round(60 * blinks * fps / len(codes), 1),
        "gaze_degrees": round(float(np.degrees(codes[:, GAZE].std(axis=0)).mean()), 1),
    }


def eye_closure(codes: Float) -> Float:
    """How far the lids are closed [N], both eyes' mean, 0 open, 1 closed."""
    both = [CODE_INDEX["eyeBlinkLeft"], CODE_INDEX["eyeBlinkRight"]]
    return codes[:, both].mean(axis=1).astype(np.float32)


def brow_raise(codes: Float) -> Float:
    """How far the brows are raised (positive) or drawn down (negative) [N]."""
    up = ["browInnerUp", "browOuterUpLeft", "browOuterUpRight"]
    down = ["browDownLeft", "browDownRight"]
    raised = codes[:, [CODE_INDEX[name] for name in up]].mean(axis=1)
    drawn = codes[:, [CODE_INDEX[name] for name in down]].mean(axis=1)
    return (raised - drawn).astype(np.float32)


def draw(inspection: Inspection, path: Path, *, overwrite: bool) -> None:
    """Writes the picture of a reference or performance as PNG.

    Raises UsageError for an existing file without ``overwrite``, InputError for weights.
    """
    import cv2

    from omnitalk_cli.media.files import atomic_output
    from omnitalk_cli.pipeline.overview import draw_overview

    source = inspection.reference or inspection.performance
    if source is None:
        raise InputError("weights have no picture: --plot needs a features or performance file")
    if isinstance(source, Reference):
        title, fps = f"Reference: {source.source_name}", source.fps
        marks = tuple((word.start, word.end, word.text) for word in source.words)
    else:
        title, fps = f"Performance, seed {source.settings.get('seed', '?')}", MEL_RATE
        marks = tuple((part.start, part.end, part.text) for part in source.segments)
    picture = draw_overview(title, source.mel, source.codes, fps, marks)
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    with atomic_output(path, overwrite=overwrite) as part_file:
        part_file.write_bytes(encoded.tobytes())


def _motion_lines(facts: dict[str, Any]) -> list[str]:
    spans = ", ".join(
        f"{name} {facts[f'{name}_degrees'][0]:+.0f} to {facts[f'{name}_degrees'][1]:+.0f}"
        for name in ("yaw", "pitch", "roll")
    )
    return [
        f"head       {spans} degrees",
        f"lips       apart by {facts['lips_apart_mean']:.2f} on average, "
        f"{facts['lips_apart_peak']:.2f} at most (eye distances)",
        f"eyes       {facts['blinks']} blinks ({facts['blinks_per_minute']:.0f} a minute), "
        f"gaze varies by {facts['gaze_degrees']:.1f} degrees",
    ]


def _weights_facts(header: Header) -> dict[str, Any]:
    return {"kind": "weights", "parameters": header.parameters, "tensors": len(header.shapes),
            "dtypes": list(header.dtypes), "metadata": header.facts}  # fmt: skip


def _weights_lines(header: Header) -> list[str]:
    return [
        f"weights, {header.parameters:,} parameters in {len(header.shapes)} tensors "
        f"({', '.join(header.dtypes)})",
        *(f"{name:<10} {_in_words(value)}" for name, value in header.facts.items()),
    ]


def _in_words(value: Any, depth: int = 0) -> str:
    """A value of the metadata on one line; long lists are counted, not written out."""
    if isinstance(value, dict):
        text = ", ".join(f"{name} {_in_words(part, depth + 1)}" for name, part in value.items())
        return f"({text})" if depth else text
    if isinstance(value, list):
        if len(value) > 8:
            return f"[{len(value)} values]"
        return f"[{', '.join(_in_words(part, depth + 1) for part in value)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
