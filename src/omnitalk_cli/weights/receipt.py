"""What is written down beside installed weights: where they came from and what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omnitalk_cli.errors import InputError

RECEIPT = "receipt.json"
_FORMAT = "omnitalk-weights/1"


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """A file: its name, size in bytes and SHA-256 (hexadecimal)."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Where installed weights came from and what lies in their folder.

    ``origin`` is ``pull`` or ``import``; ``source`` the repository, the address or the file;
    ``revision`` what was asked for and ``commit`` what that was (both empty for an import);
    ``accepted`` the licence that the user accepted, empty when nothing had to be accepted.
    """

    name: str
    origin: str
    source: str
    revision: str
    commit: str
    licence: str
    accepted: str
    importer: str
    importer_version: int
    omnitalk: str
    when: str
    fetched: tuple[FileFacts, ...]
    installed: tuple[FileFacts, ...]

    @property
    def size(self) -> int:
        """Bytes of all installed files."""
        return sum(file.size for file in self.installed)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"format": _FORMAT, **asdict(self)}

    def write(self, folder: Path) -> None:
        """Writes it into ``folder``."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        (folder / RECEIPT).write_text(text + "\n", "utf-8")


def read_receipt(folder: Path) -> Receipt | None:
    """The receipt in ``folder``, None when there is none. Raises InputError for a damaged one."""
    path = folder / RECEIPT
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); pull the weights again") from error
    try:
        if content.pop("format") != _FORMAT:
            raise ValueError("of another version")
        for kind in ("fetched", "installed"):
            content[kind] = tuple(_file(item) for item in content[kind])
        return Receipt(**content)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: is no receipt ({error}); pull the weights again") from error


def _file(item: Mapping[str, Any]) -> FileFacts:
    facts = FileFacts(**item)
    if Path(facts.name).name != facts.name or not isinstance(facts.size, int):
        raise ValueError(f"file {facts.name!r}")
    return facts
