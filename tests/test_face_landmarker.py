"""The Face Landmarker as a tracker: its faces and codes beside those of FaceMesh."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from drawn_face import face_frames, write_clip
from omnitalk_cli.cli.app import app
from omnitalk_cli.errors import SetupError
from omnitalk_cli.face.codes import GAZE, LIVE_EXPRESSION, ROTATION
from omnitalk_cli.face.finder import FaceFinder
from omnitalk_cli.face.fit import fit_codes
from omnitalk_cli.face.landmarker import (
    FaceLandmarker,
    chosen_tracker,
    landmark_networks,
    landmarker_file,
    tracker_identity,
)
from omnitalk_cli.face.mediapipe_models import Box, FaceMesh
from omnitalk_cli.face.rig import OUTER_EYE_CORNERS, FaceRig
from omnitalk_cli.face.tracker import LandmarkTracker
from omnitalk_cli.media.probe import probe
from omnitalk_cli.pipeline.reference import ExtractOptions, resolve_reference
from omnitalk_cli.pipeline.reference_pictures import follow

FACE = (128.0, 120.0, 120.0)


@pytest.fixture
def weights(landmarker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder in which the Face Landmarker is installed."""
    folder = tmp_path / "weights" / "face-landmarker"
    folder.mkdir(parents=True)
    (folder / "face_landmarker.task").symlink_to(landmarker)
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(folder.parent))
    return folder.parent


def test_it_must_be_pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path))
    for ask in (landmarker_file, lambda: landmark_networks("landmarker")):
        with pytest.raises(SetupError, match="omnitalk weights pull face-landmarker"):
            ask()
    assert chosen_tracker("auto") == "facemesh" == tracker_identity("auto")
    assert landmark_networks("auto") is FaceMesh
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"never read")
    for command in ("generate", "synth"):
        done = CliRunner().invoke(
            app, [command, "--ref", str(clip), "--say", "Hi.", "--tracker", "landmarker"]
        )
        assert done.exit_code == 4 and "weights pull face-landmarker" in done.output
    done = CliRunner().invoke(app, ["extract", str(clip), "--tracker", "landmarker"])
    assert done.exit_code == 4


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "face_landmarker.task"
    file.write_bytes(b"PK nothing of the kind")
    with pytest.raises(SetupError, match="cannot be opened .* pull face-landmarker"):
        FaceLandmarker(file, still=True)


@pytest.mark.parametrize("still", [True, False])
def test_it_finds_what_facemesh_finds(weights: Path, still: bool) -> None:
    frames = face_frames(6, 256, 256, [FACE])
    found = []
    for tracker in ("facemesh", "landmarker"):
        network = landmark_networks(tracker)(still=still)
        found.append(np.concatenate([network.landmarks(frame) for frame in frames]))
        assert network.landmarks(np.zeros((256, 256, 3), np.uint8)).shape == (0, 478, 3)
        network.close()
    mesh, other = found
    assert mesh.shape == other.shape == (6, 478, 3)
    right, left = OUTER_EYE_CORNERS
    eyes = np.linalg.norm(mesh[:, right] - mesh[:, left], axis=1).mean()
    assert np.linalg.norm((mesh - other)[:, :, :2], axis=2).mean() < 0.06 * eyes


def test_the_tracker_follows_with_it(weights: Path) -> None:
    networks = landmark_networks("landmarker")
    frames = face_frames(12, 512, 256, [(130, 120, 120), (380, 120, 120)], hidden=(4, 7))
    expected = Box(x=320, y=60, width=120, height=120)
    with FaceFinder(networks) as finder:
        finder.look(frames[0])
        assert len(finder.faces()) == 2
    with LandmarkTracker(expected, faces=2, networks=networks) as tracker:
        for frame in frames:
            tracker.add(frame)
        points, found = tracker.result()
    assert found[:4].all() and not found[4:7].any() and found[8:].all()
    assert np.abs(points[found][:, :468, 0].mean(axis=1) - 380).max() < 20


def test_nothing_of_it_reaches_stderr(weights: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from drawn_face import face_frames\n"
        "from omnitalk_cli.face.landmarker import landmark_networks\n"
        "for still in (True, False):\n"
        "    network = landmark_networks('landmarker')(still=still)\n"
        "    for frame in face_frames(2, 256, 256, [(128, 120, 120)]):\n"
        "        assert len(network.landmarks(frame)) == 1\n"
        "    network.close()\n"
        "sys.stderr.write('alive')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        cwd=__file__.rpartition("/tests/")[0], env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == "alive"


def test_features_of_both_trackers_are_kept_apart(weights: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", face_frames(30, 256, 192, [(128, 96, 100)]))
    made = []
    for tracker in ("auto", "facemesh", "landmarker", "landmarker"):
        options = ExtractOptions(frame_size=128, ref_text="", tracker=tracker)  # type: ignore[arg-type]
        made.append(resolve_reference(clip, options=options, cache_dir=tmp_path / "cache"))
    assert [hit for _, hit in made] == [False, True, False, True]
    assert not np.array_equal(made[0][0].codes, made[2][0].codes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["address_hill", "ravdess_08_happy", "outdoor_talk"])
def test_codes_agree_on_real_clips(weights: Path, clips_dir: Path, name: str) -> None:
    """Two seconds; the limits are twice the means over all clips (docs/measurements.md)."""
    info, rig = probe(clips_dir / f"{name}.mp4"), FaceRig.load()
    mesh, other = (
        follow(info, seconds=2.0, tracker=tracker) for tracker in ("facemesh", "landmarker")
    )
    one = fit_codes(mesh.landmarks, rig)
    two = fit_codes(other.landmarks, rig, pose_frame=one.pose_frame)
    assert two.error.mean() < 0.005  # half a percent of the eye distance, as the recipe's own
    away = np.abs(one.codes - two.codes)
    assert away[:, list(LIVE_EXPRESSION)].mean() < 0.06
    assert np.degrees(away[:, ROTATION]).mean() < 2.0
    assert np.degrees(away[:, GAZE]).mean() < 7.0
