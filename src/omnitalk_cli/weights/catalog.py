"""The weights that omnitalk knows by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Weights with a name. ``file`` lies in the embedded folder; ``job`` is what they are for."""

    name: str
    file: str
    job: str
    about: str


EMBEDDED: tuple[Entry, ...] = (
    Entry(
        name="tiny",
        file="tiny.safetensors",
        job="model",
        about="joint speech and motion, trained by this project",
    ),
    Entry(
        name="pronunciation",
        file="pronunciation.safetensors",
        job="pronunciation",
        about="phones of words that no dictionary has, trained by this project",
    ),
    Entry(
        name="pitch",
        file="pitch.safetensors",
        job="pitch",
        about="melody of generated speech, trained by this project",
    ),
    Entry(
        name="vocoder",
        file="vocoder.safetensors",
        job="vocoder",
        about="mel to sound, a small Vocos trained by this project",
    ),
)


def entry(name: str) -> Entry | None:
    """The entry of that name, or None."""
    return next((known for known in EMBEDDED if known.name == name), None)
