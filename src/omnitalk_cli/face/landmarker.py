"""MediaPipe's Face Landmarker, an alternative to its FaceMesh, and the choice between both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from omnitalk_cli.errors import SetupError
from omnitalk_cli.face.mediapipe_models import (
    FaceMesh,
    LandmarkNetworks,
    Picture,
    QuietGraph,
    in_pixels,
    load_module,
)
from omnitalk_cli.types import Float
from omnitalk_cli.weights.store import sha256, weights_folder

Tracker = Literal["auto", "facemesh", "landmarker"]

WEIGHTS_NAME = "face-landmarker"
_FILE = "face_landmarker.task"
_STEP = 33  # milliseconds between pictures; nothing depends on it but their order
# Of a single face MediaPipe smooths the landmarks as if for a live camera: they trail behind, and
# drawn pictures lose 0.6 dB. When two may be there it leaves them alone, and we smooth ourselves.
_FEWEST_FOLLOWED = 2


class FaceLandmarker(QuietGraph):
    """478 landmarks with irises by the network in ``file`` (a ``.task`` bundle).

    ``still`` finds the faces anew in every picture; otherwise they are followed, and at least two
    are looked for. Raises SetupError when the file cannot be used.
    """

    def __init__(self, file: Path, *, still: bool, faces: int = 1, confidence: float = 0.5) -> None:
        vision = load_module("tasks.python.vision.face_landmarker")
        self._image = load_module("python._framework_bindings.image")
        self._format = load_module("python._framework_bindings.image_frame").ImageFormat.SRGB
        base = load_module("tasks.python.core.base_options")
        self._still, self._time = still, 0
        mode = vision._RunningMode
        options = vision.FaceLandmarkerOptions(
            base_options=base.BaseOptions(model_asset_path=str(file)),
            running_mode=mode.IMAGE if still else mode.VIDEO,
            num_faces=faces if still else max(faces, _FEWEST_FOLLOWED),
            min_face_detection_confidence=confidence,
            min_face_presence_confidence=confidence,
            min_tracking_confidence=confidence,
        )
        try:
            super().__init__(lambda: vision.FaceLandmarker.create_from_options(options))
        except (RuntimeError, ValueError, OSError) as error:
            told = " ".join(str(error).split())
            raise SetupError(
                f"{file}: the face landmarker cannot be opened ({told[:120]}); get it again with "
                f"omnitalk weights pull {WEIGHTS_NAME}"
            ) from error

    def run(self, picture: Picture) -> Sequence[Any]:
        """The faces in ``picture``, as the graph gives them."""
        image = self._image.Image(image_format=self._format, data=picture)
        if self._still:
            return self._graph.detect(image).face_landmarks
        self._time += _STEP
        return self._graph.detect_for_video(image, self._time).face_landmarks

    def landmarks(self, picture: Picture) -> Float:
        """All faces ``[F,478,3]``: pixels, x right, y down, z in the same unit, smaller nearer."""
        return in_pixels(self.faces(picture), picture)


def landmarker_file() -> Path:
    """The installed network. Raises SetupError when it is not there."""
    file = weights_folder() / WEIGHTS_NAME / _FILE
    if not file.is_file():
        raise SetupError(
            f"--tracker landmarker: {file} is not installed; omnitalk weights pull {WEIGHTS_NAME}"
        )
    return file


def chosen_tracker(tracker: Tracker) -> Tracker:
    """What ``auto`` stands for: FaceMesh, which needs no file (docs/measurements.md compares)."""
    return "facemesh" if tracker == "auto" else tracker


def tracker_identity(tracker: Tracker) -> str:
    """What tells apart the landmarks of one tracker from those of another.

    Raises SetupError when the tracker's file is not there.
    """
    if chosen_tracker(tracker) == "facemesh":
        return "facemesh"
    return f"landmarker {sha256(landmarker_file())}"


def landmark_networks(tracker: Tracker) -> LandmarkNetworks:
    """What opens the networks of ``tracker``. Raises SetupError when its file is not there."""
    if chosen_tracker(tracker) == "facemesh":
        return FaceMesh
    return partial(FaceLandmarker, landmarker_file())
