"""What a batch is made of: jobs, and what became of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["pending", "running", "done", "failed"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of a table, checked: who speaks, what, and into which file.

    Exactly one of ``text`` (the words themselves), ``text_file`` and ``audio`` is given.
    ``options`` are parameters of ``generate`` by name, parsed, the row's own over those of the
    command line; ``seed`` is always among them. ``line`` counts from 1 in the table.
    """

    id: str
    line: int
    ref: Path
    output: Path
    text: str | None = None
    text_file: Path | None = None
    audio: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The seed of everything random in this row."""
        return int(self.options["seed"])


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What became of a job. Times are UTC in ISO 8601, ``timings`` and ``seconds`` (of video) in
    seconds; ``message`` says why it failed, ``exit_code`` as ``generate`` would end.

    ``performance_sha256`` is the hash of the speech and motion, the same whenever a row is made
    with the same versions on the same kind of device. ``fingerprint`` stands for everything that
    the output depends on; ``attempts`` counts runs.
    """

    id: str
    line: int
    state: State
    output: str = ""
    exit_code: int = 0
    message: str = ""
    fingerprint: str = ""
    output_bytes: int = 0
    output_sha256: str = ""
    mark_id: str = ""
    performance_sha256: str = ""
    seed: int = 0
    seconds: float = 0.0
    timings: Mapping[str, float] = field(default_factory=dict)
    started: str = ""
    finished: str = ""
    attempts: int = 0
    worker: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"timings": dict(self.timings)}


def seed_of(job_id: str) -> int:
    """The seed of a row that names none: always the same for the same id, 0 to 2**31 - 1."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4], "big") >> 1
