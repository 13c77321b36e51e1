"""Performances on disk: one safetensors file with mel, codes and how they were made."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from omnitalk_cli.errors import InputError
from omnitalk_cli.media.files import atomic_output
from omnitalk_cli.types import Performance, SegmentTime

FORMAT = "omnitalk-performance"
FORMAT_VERSION = "1"


def save_performance(performance: Performance, path: Path) -> None:
    """Writes ``path`` whole or not at all."""
    metadata = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "segments": json.dumps([asdict(segment) for segment in performance.segments]),
        "settings": json.dumps(performance.settings),
    }
    tensors = {
        "mel": np.ascontiguousarray(performance.mel),
        "codes": np.ascontiguousarray(performance.codes),
    }
    if performance.sound is not None:
        pcm = np.round(np.clip(performance.sound, -1.0, 1.0) * 32767)
        tensors["sound"] = pcm.astype(np.int16)
    with atomic_output(path, overwrite=True) as part:
        save_file(tensors, part, metadata=metadata)
        part.chmod(0o644)


def load_performance(path: Path) -> Performance:
    """Reads a performance. Raises InputError when ``path`` is missing or something else."""
    if not path.is_file():
        raise InputError(f"no performance file at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT or metadata.get("version") != FORMAT_VERSION:
                raise InputError(
                    f"{path} is not a performance of version {FORMAT_VERSION}; "
                    "make one with `omnitalk synth`"
                )
            sound = None
            if "sound" in file.keys():  # noqa: SIM118
                sound = file.get_tensor("sound").astype(np.float32) / 32767
            return Performance(
                sound=sound,
                mel=file.get_tensor("mel"),
                codes=file.get_tensor("codes"),
                segments=tuple(SegmentTime(**row) for row in json.loads(metadata["segments"])),
                settings=json.loads(metadata["settings"]),
            )
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file: {error}") from error
