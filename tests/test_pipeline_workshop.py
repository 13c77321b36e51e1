"""What the making of videos shares: made once, also while something else is made."""

from __future__ import annotations

import threading

import pytest

from omnitalk_cli.errors import InputError
from omnitalk_cli.pipeline import workshop as module
from omnitalk_cli.pipeline.production import ProductionOptions, preparing
from omnitalk_cli.pipeline.workshop import Workshop
from references import made_reference

REFERENCE = made_reference()
OPTIONS = ProductionOptions(device="cpu", workers=1)


class Drawer:
    """A renderer whose bank waits until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.threads: list[threading.Thread] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def prepare(self, reference: object, *, progress: object) -> str:
        self.threads.append(threading.current_thread())
        self.begun.set()
        assert self.go.wait(30)
        if self.error is not None:
            raise self.error
        return f"bank {len(self.threads)}"


def bank(workshop: Workshop) -> str:
    return workshop.bank(REFERENCE, renderer="auto", device="cpu", workers=1)[1]


def test_the_bank_is_made_meanwhile_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawer, workshop = Drawer(), Workshop()
    monkeypatch.setattr(module, "make_renderer", lambda *args, **more: drawer)
    with preparing(REFERENCE, OPTIONS, workshop):
        assert drawer.begun.wait(30)  # while this body is not over
        drawer.go.set()
    assert bank(workshop) == "bank 1"
    assert drawer.threads != [threading.current_thread()]


def test_a_bank_that_fails_meanwhile_is_told_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawer, workshop = Drawer(InputError("no face")), Workshop()
    drawer.go.set()
    monkeypatch.setattr(module, "make_renderer", lambda *args, **more: drawer)
    with preparing(REFERENCE, OPTIONS, workshop):
        pass
    with pytest.raises(InputError, match="no face"):
        bank(workshop)
