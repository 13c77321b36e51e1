"""References on disk: one safetensors file with features, pictures and where they come from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from omnitalk_cli.errors import InputError
from omnitalk_cli.face.codes import CODE_COUNT, CODE_NAMES
from omnitalk_cli.media.files import atomic_output
from omnitalk_cli.types import MEL_BINS, Crop, PoseFrame, Reference, Surroundings, Word

FORMAT = "omnitalk-reference"
FORMAT_VERSION = 3  # 2 added the surroundings, 3 the voice; older features are read without them

_ARRAYS = ("mel", "codes", "landmarks", "neutral", "sharpness")
_PICTURES = ("frames", "mattes")
_FACTS = ("fps", "frame_size", "transcript", "language", "source_sha256", "source_name",
          "start_seconds")  # fmt: skip


def save_reference(reference: Reference, path: Path) -> None:
    """Write ``reference`` to ``path``, whole or not at all; an existing file is replaced.

    Raises WorkError when the place cannot be written or the disk is full.
    """
    tensors: dict[str, NDArray[Any]] = {
        name: np.ascontiguousarray(getattr(reference, name), np.float32) for name in _ARRAYS
    }
    for name in _PICTURES:
        pictures: tuple[bytes, ...] = getattr(reference, name)
        tensors[name] = np.frombuffer(b"".join(pictures), np.uint8)
        tensors[f"{name}_offsets"] = np.cumsum([0, *map(len, pictures)], dtype=np.int64)
    facts = {name: getattr(reference, name) for name in _FACTS}
    around = reference.surroundings
    if around is not None:
        tensors["surroundings"] = np.frombuffer(around.picture, np.uint8)
        tensors["surroundings_matte"] = np.frombuffer(around.matte, np.uint8)
        facts["surroundings_crop"] = asdict(around.crop)
    if reference.voice is not None:
        tensors["voice"] = np.ascontiguousarray(reference.voice, np.int16)
    facts["crop"] = asdict(reference.crop)
    facts["pose_frame"] = asdict(reference.pose_frame)
    facts["words"] = [asdict(word) for word in reference.words]
    metadata = {
        "format": FORMAT,
        "version": str(FORMAT_VERSION),
        "codes": json.dumps(CODE_NAMES),
        "reference": json.dumps(facts, ensure_ascii=False),
    }
    with atomic_output(path, overwrite=True) as part:
        save_file(tensors, part, metadata=metadata)
        part.chmod(0o644)


def load_reference(path: Path) -> Reference:
    """Read what :func:`save_reference` wrote.

    Raises InputError when the file is missing, is something else, was written by a newer version
    or is damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such features file; make one with `omnitalk extract`")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        reference = _assemble(tensors, json.loads(metadata["reference"]))
        _check_shapes(reference)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: is damaged or not a features file ({error}); "
            "make it again with `omnitalk extract`"
        ) from error
    return reference


def _check_format(path: Path, metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        kind = metadata.get("format", "something else")
        raise InputError(
            f"{path}: is not a features file of a reference but {kind}; "
            "make one with `omnitalk extract`"
        )
    version = int(metadata.get("version", "0"))
    if version > FORMAT_VERSION:
        raise InputError(
            f"{path}: was written by a newer omnitalk (format {version}, this one reads "
            f"{FORMAT_VERSION}); upgrade omnitalk or extract the clip again"
        )
    if version < 1 or metadata.get("codes") != json.dumps(CODE_NAMES):
        raise InputError(f"{path}: its codes are not those of this omnitalk; extract it again")


def _assemble(tensors: dict[str, NDArray[Any]], facts: dict[str, Any]) -> Reference:
    fields: dict[str, Any] = {name: tensors[name] for name in _ARRAYS}
    fields |= {name: facts[name] for name in _FACTS}
    for name in _PICTURES:
        data, offsets = tensors[name].tobytes(), tensors[f"{name}_offsets"]
        if offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets) < 0).any():
            raise ValueError(f"the index of the {name} is wrong")
        fields[name] = tuple(data[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True))
    if "surroundings_crop" in facts:
        fields["surroundings"] = Surroundings(
            picture=tensors["surroundings"].tobytes(),
            matte=tensors["surroundings_matte"].tobytes(),
            crop=Crop(**facts["surroundings_crop"]),
        )
    return Reference(
        **fields,
        voice=tensors.get("voice"),
        crop=Crop(**facts["crop"]),
        pose_frame=PoseFrame(**facts["pose_frame"]),
        words=tuple(Word(**word) for word in facts["words"]),
    )


def _check_shapes(reference: Reference) -> None:
    count = len(reference.frames)
    wanted = {
        "codes": (count, CODE_COUNT),
        "landmarks": (count, 478, 3),
        "neutral": (478, 3),
        "sharpness": (count,),
        "mel": (len(reference.mel), MEL_BINS),
    }
    for name, shape in wanted.items():
        array = getattr(reference, name)
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{name} has shape {list(array.shape)} or numbers that are not finite")
    if reference.voice is not None and reference.voice.ndim != 1:
        raise ValueError("the voice is not one row of samples")
    if not count or len(reference.mattes) != count:
        raise ValueError("frames and mattes do not belong together")
