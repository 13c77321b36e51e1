"""Devices: what is chosen, and what is not there."""

from __future__ import annotations

import pytest
import torch

from omnitalk_cli.errors import SetupError
from omnitalk_cli.pipeline.devices import choose_device


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_devices_that_are_there(two_gpus: None, name: str) -> None:
    assert choose_device(name) == name
    assert choose_device("auto") == "cuda"


def test_a_gpu_that_is_not_there_is_told(two_gpus: None) -> None:
    with pytest.raises(SetupError, match="the last of 2 is cuda:1"):
        choose_device("cuda:2")


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(SetupError, match="use --device cpu"):
        choose_device("cuda:0")
