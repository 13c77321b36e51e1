"""Folders that one run at a time may fill."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnitalk_cli.errors import UsageError
from omnitalk_cli.media.locks import sole_user


def test_the_second_run_is_kept_out_until_the_first_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with sole_user(folder), pytest.raises(UsageError, match="another run is at work"):
        with sole_user(folder):
            raise AssertionError("it got in")
    with sole_user(folder):
        assert folder.is_dir()


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file: this folder cannot be made"):
        with sole_user(tmp_path / "file"):
            pass
