"""The MediaPipe networks behind one door: loaded late, quiet, and closed again.

Pictures are uint8 [H,W,3] RGB; everything that comes out is in pixels of the picture put in.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType, TracebackType
from typing import Any, Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from omnitalk_cli.errors import SetupError
from omnitalk_cli.types import Float

Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A face in a picture: left, top, width, height in pixels and the detector's confidence."""

    x: float
    y: float
    width: float
    height: float
    score: float = 1.0

    @property
    def side(self) -> float:
        """The longer of both sides."""
        return max(self.width, self.height)

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box."""
        return self.x + self.width / 2, self.y + self.height / 2

    def moved(self, x: float, y: float) -> Box:
        """The box shifted by (x, y)."""
        return replace(self, x=self.x + x, y=self.y + y)

    def scaled(self, factor: float) -> Box:
        """The box in a picture enlarged by ``factor``."""
        return replace(
            self,
            x=self.x * factor,
            y=self.y * factor,
            width=self.width * factor,
            height=self.height * factor,
        )

    def overlap(self, other: Box) -> float:
        """Shared area over the area of the smaller box."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        smaller = min(self.width * self.height, other.width * other.height)
        return max(0.0, across) * max(0.0, down) / max(smaller, 1e-6)


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Send file descriptor 2 nowhere: MediaPipe's C++ writes there, past ``sys.stderr``."""
    try:
        saved = os.dup(2)
    except OSError:  # no stderr at all, nothing to silence
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@contextmanager
def _without_matplotlib() -> Iterator[None]:
    """Spare MediaPipe's drawing tools matplotlib, which on a fresh machine builds its font cache.

    They use it only to plot landmarks, which nobody here does.
    """
    names = [name for name in ("matplotlib", "matplotlib.pyplot") if name not in sys.modules]
    if len(names) < 2:
        yield
        return
    for name in names:
        sys.modules[name] = ModuleType(name)
    sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def load_module(name: str) -> Any:
    """The module ``mediapipe.<name>``, quietly. Raises SetupError when it cannot be imported."""
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", module=r"google\.protobuf\.symbol_database")
    try:
        with silenced_stderr(), _without_matplotlib():
            return importlib.import_module(f"mediapipe.{name}")
    except ImportError as error:
        raise SetupError(
            f"mediapipe's {name.rpartition('.')[2]} cannot be loaded ({error}); install mediapipe "
            "0.10.21"
        ) from error


class LandmarkNetwork(Protocol):
    """A network that finds 478 landmarks on faces."""

    def landmarks(self, picture: Picture) -> Float:
        """All faces ``[F,478,3]``: pixels, x right, y down, z in the same unit, smaller nearer."""
        ...

    def close(self) -> None:
        """Free the network."""
        ...


class LandmarkNetworks(Protocol):
    """What opens such networks: ``still`` ones find the face anew in every picture, the others
    follow it from picture to picture, ``faces`` of them at most."""

    def __call__(
        self, *, still: bool, faces: int = 1, confidence: float = 0.5
    ) -> LandmarkNetwork: ...


class QuietGraph:
    """One MediaPipe graph: a context manager whose beginning and end are silenced.

    ``build`` makes it; ``run`` (of a subclass) takes a picture to its faces, as a sequence.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        self._found_one = False
        with silenced_stderr():
            self._graph = build()
            # Its threads open the models after the constructor has returned, and announce it:
            # a black picture makes them finish while nobody listens.
            self.run(np.zeros((64, 64, 3), np.uint8))

    def run(self, picture: Picture) -> Sequence[Any]:
        """The faces in ``picture``, as the graph gives them."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the graph."""
        with silenced_stderr():
            self._graph.close()

    def faces(self, picture: Picture) -> Sequence[Any]:
        """As ``run``; the first face makes the graph talk once more."""
        picture = np.ascontiguousarray(picture)
        if self._found_one:
            return self.run(picture)
        with silenced_stderr():
            found = self.run(picture)
        self._found_one = bool(found)
        return found


class _Solution(QuietGraph):
    """A graph of ``mediapipe.python.solutions``; ``result`` is the list it answers with."""

    def __init__(self, module: str, name: str, result: str, **options: Any) -> None:
        self._result = result
        build = getattr(load_module(f"python.solutions.{module}"), name)
        super().__init__(lambda: build(**options))

    def run(self, picture: Picture) -> Sequence[Any]:
        """The faces in ``picture``, as the graph gives them."""
        return getattr(self._graph.process(picture), self._result) or ()


class FaceDetector(_Solution):
    """Full-range detector: faces down to about a twelfth of the picture's longer side."""

    def __init__(self, confidence: float = 0.5) -> None:
        super().__init__(
            "face_detection",
            "FaceDetection",
            "detections",
            model_selection=1,
            min_detection_confidence=confidence,
        )

    def boxes(self, picture: Picture) -> list[Box]:
        """Faces in ``picture``, brow to chin, in no order."""
        height, width = picture.shape[:2]
        longest = max(height, width)
        if longest > 640:  # the network sees 192 pixels: spare it the large copy
            scale = 640 / longest
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            picture = np.asarray(small, np.uint8)
        found = []
        for detection in self.faces(picture):
            box = detection.location_data.relative_bounding_box
            found.append(
                Box(
                    x=box.xmin * width,
                    y=box.ymin * height,
                    width=box.width * width,
                    height=box.height * height,
                    score=float(detection.score[0]),
                )
            )
        return found


class FaceMesh(_Solution):
    """478 landmarks with irises. ``still`` finds the face anew in every picture."""

    def __init__(self, *, still: bool, faces: int = 1, confidence: float = 0.5) -> None:
        super().__init__(
            "face_mesh",
            "FaceMesh",
            "multi_face_landmarks",
            static_image_mode=still,
            max_num_faces=faces,
            refine_landmarks=True,
            min_detection_confidence=confidence,
            min_tracking_confidence=confidence,
        )

    def landmarks(self, picture: Picture) -> Float:
        """All faces ``[F,478,3]``: pixels, x right, y down, z in the same unit, smaller nearer."""
        return in_pixels([face.landmark for face in self.faces(picture)], picture)


def in_pixels(faces: Sequence[Any], picture: Picture) -> Float:
    """MediaPipe's landmarks of several faces, shares of the picture's sides, as [F,478,3]."""
    height, width = picture.shape[:2]
    points = [[(p.x * width, p.y * height, p.z * width) for p in face] for face in faces]
    return np.array(points, np.float32).reshape(-1, 478, 3)
