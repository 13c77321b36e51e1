"""Where weights lie and what their files say about themselves, without loading them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.weights.catalog import Entry, entries, entry, near
from omnitalk_cli.weights.receipt import Receipt, read_receipt

_PACKAGE = Path(__file__).resolve().parent.parent
_HEADER_LIMIT = 100_000_000  # bytes; the format's own limit


@dataclass(frozen=True, kw_only=True)
class Header:
    """The head of a safetensors file: its metadata and how many numbers it holds.

    ``shapes`` are those of the tensors by name; ``dtypes`` the formats that occur ("BF16", ...).
    """

    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    dtypes: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """How many numbers all tensors hold together."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def facts(self) -> dict[str, Any]:
        """The metadata with values that are JSON turned into what they mean."""
        return {name: _parsed(value) for name, value in self.metadata.items()}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An entry of the catalogue and the file that was found for it (None: not installed).

    ``size`` in bytes is that of all its files; ``sha256`` that of ``path``, for public weights as
    their ``receipt`` says it. ``header`` only for safetensors; ``problem`` says why files that are
    there cannot be used.
    """

    entry: Entry
    path: Path | None = None
    size: int = 0
    sha256: str = ""
    header: Header | None = None
    receipt: Receipt | None = None
    problem: str = ""

    @property
    def repair(self) -> str:
        """What puts damaged weights right."""
        if self.entry.embedded:
            return self.entry.how_to_get
        if self.receipt is not None and self.receipt.origin == "import":
            return (
                f"import them again: omnitalk weights import FILE --as {self.entry.name} "
                "--overwrite"
            )
        return f"omnitalk weights pull {self.entry.name} --overwrite"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        entry, source, receipt = self.entry, self.entry.source, self.receipt
        return {
            "name": entry.name, "job": entry.job, "about": entry.about,
            "embedded": entry.embedded, "licence": entry.licence.name,
            "allows": entry.licence.allows, "non_commercial": entry.licence.non_commercial,
            "installed": self.path is not None, "path": str(self.path) if self.path else None,
            "problem": self.problem or None,
            "bytes": self.size, "sha256": self.sha256 or None,
            "download_bytes": source.size if source else None,
            "source": source.page if source else None,
            "revision": source.revision if source and source.repository else None,
            "pinned": source.pinned if source else None,
            "commit": (receipt.commit or None) if receipt else None,
            "get": None if self.path and not self.problem else entry.how_to_get,
            "parameters": self.header.parameters if self.header else 0,
            "dtypes": list(self.header.dtypes) if self.header else [],
            "metadata": self.header.facts if self.header else {},
        }  # fmt: skip


def embedded_folders() -> tuple[Path, ...]:
    """Where embedded weights can lie: in the installed package, or ``weights/`` of a checkout."""
    return (_PACKAGE / "embedded", _PACKAGE.parents[1] / "weights")


def weights_folder() -> Path:
    """Where pulled and imported weights lie, a folder ``NAME/`` each: $OMNITALK_WEIGHTS_DIR, else
    ``weights`` in the platform's data folder."""
    from platformdirs import user_data_path

    chosen = os.environ.get("OMNITALK_WEIGHTS_DIR")
    return Path(chosen) if chosen else user_data_path("omnitalk", appauthor=False) / "weights"


def find_weights(name_or_path: str | Path) -> Path:
    """The file of weights given by catalogue name or by path.

    Public weights whose use is a folder (Whisper) are in that file's folder. Raises SetupError,
    saying what there is and how to get it, when there is none or it is damaged.
    """
    known = entry(str(name_or_path))
    if known is not None:
        found = _locate(known)
        if found is None:
            raise SetupError(_not_installed(known))
        if not known.embedded and (state := _look_at_public(known)).problem:
            raise SetupError(f"{state.problem}; {state.repair}")
        return found
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise SetupError(
        f"no weights called {name_or_path}, nor such a file: {near(str(name_or_path))} "
        "(see omnitalk weights list)"
    )


def installed() -> tuple[Installed, ...]:
    """Every entry of the catalogue with its file, size, checksum and header.

    Embedded files are hashed; for public ones, which are large, the receipt is believed
    (``omnitalk weights verify`` hashes them). What is damaged says so in its ``problem``.
    """
    return tuple(look_at(item) for item in entries())


def look_at(item: Entry) -> Installed:
    """What is there of one entry, as ``installed`` says it."""
    return _look_at_embedded(item) if item.embedded else _look_at_public(item)


def read_header(path: Path) -> Header:
    """The head of a safetensors file (8 bytes of length, then JSON). Raises InputError."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_HEADER_LIMIT, path.stat().st_size):
                raise ValueError("header longer than the file")
            document = json.loads(file.read(length))
        metadata = document.pop("__metadata__", {})
        return Header(
            metadata=metadata,
            shapes={name: tuple(tensor["shape"]) for name, tensor in document.items()},
            dtypes=tuple(sorted({tensor["dtype"] for tensor in document.values()})),
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or '').lower()})") from error
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is not a safetensors file ({error})") from error


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _locate(item: Entry) -> Path | None:
    if item.embedded:
        candidates = [folder / item.main for folder in embedded_folders()]
    else:
        candidates = [weights_folder() / item.name / item.main]
    return next((path for path in candidates if path.is_file()), None)


def _look_at_embedded(item: Entry) -> Installed:
    path = _locate(item)
    if path is None:
        return Installed(entry=item)
    header, problem = None, ""
    try:
        header = read_header(path)
    except InputError as error:
        problem = str(error)
    return Installed(
        entry=item, path=path, size=path.stat().st_size, sha256=sha256(path), header=header,
        problem=problem,
    )  # fmt: skip


def _look_at_public(item: Entry) -> Installed:
    path = _locate(item)
    if path is None:
        return Installed(entry=item)
    receipt, header, problem = None, None, ""
    try:
        receipt = read_receipt(path.parent)
        header = read_header(path) if path.suffix == ".safetensors" else None
    except InputError as error:
        problem = str(error)
    if receipt is None:  # put there by hand: used, but never checked
        return Installed(
            entry=item, path=path, size=path.stat().st_size, header=header, problem=problem
        )
    noted = {file.name: file.sha256 for file in receipt.installed}
    return Installed(
        entry=item, path=path, size=receipt.size, sha256=noted.get(path.name, ""), header=header,
        receipt=receipt, problem=_damage(path.parent, receipt) or problem,
    )  # fmt: skip


def _damage(folder: Path, receipt: Receipt) -> str:
    """What of a folder can be seen to differ from its receipt without hashing."""
    for file in receipt.installed:
        path = folder / file.name
        if not path.is_file():
            return f"{path}: is gone"
        if (size := path.stat().st_size) != file.size:
            return f"{path}: has {size} bytes instead of {file.size}"
    return ""


def _not_installed(item: Entry) -> str:
    if item.embedded:
        return (
            f"the weights '{item.name}' ({item.main}) are not installed; install the "
            "omnitalk-cli wheel again, which carries them, or run from a complete checkout"
        )
    return (
        f"{item.name} is not installed ({item.download}, {item.licence.summary}); {item.how_to_get}"
    )


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
