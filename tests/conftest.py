"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from omnitalk_cli.media.ffmpeg import find_ffmpeg

if TYPE_CHECKING:
    from hub_server import Hub

# The same examples in every run, nothing stored, and no failures on a busy machine.
settings.register_profile("omnitalk", derandomize=True, database=None, deadline=None)
settings.load_profile("omnitalk")

_REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and ledger of the tests, away from the user's own."""
    folder = tmp_path_factory.mktemp("keys")
    os.environ["OMNITALK_KEY_DIR"] = str(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def public_weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests find no public weights, whatever the user has installed."""
    folder = tmp_path_factory.mktemp("weights")
    os.environ["OMNITALK_WEIGHTS_DIR"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def clips_dir() -> Path:
    """Folder of the real clips; the test is skipped where there is none."""
    named = os.environ.get("OMNITALK_TEST_CLIPS")
    folder = Path(named) if named else _REPOSITORY.parent / "shared" / "clips"
    if not folder.is_dir():
        pytest.skip(f"no real clips at {folder} (OMNITALK_TEST_CLIPS names another folder)")
    return folder


@pytest.fixture(scope="session")
def landmarker() -> Path:
    """MediaPipe's Face Landmarker; the test is skipped where its file is not."""
    named = os.environ.get("OMNITALK_TEST_WEIGHTS")
    folder = Path(named) if named else _REPOSITORY.parent / "shared" / "weights"
    file = folder / "face_landmarker.task"
    if not file.is_file():
        pytest.skip(f"no {file} (OMNITALK_TEST_WEIGHTS names another folder)")
    return file


@pytest.fixture(scope="session")
def ffmpeg_path() -> Path:
    """The ffmpeg that omnitalk itself would use."""
    return find_ffmpeg()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A stand-in for the hub, with omnitalk pointed at it."""
    import weights_samples as samples
    from hub_server import serve
    from omnitalk_cli.weights import catalog

    with serve(samples.new_hub()) as state:
        samples.use(state, tmp_path, monkeypatch)
        yield state
    catalog.catalog.cache_clear()
