"""The fingerprint of a job: one hash of everything that its output depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.errors import InputError
from omnitalk_cli.weights import store

_FORMAT = 1  # a new number makes every row of every batch again

# Options that say where, with what and how loudly the work is done, not what comes of it. The
# device is among them so that a batch begun on one machine can end on another.
_WITHOUT_EFFECT = frozenset(
    {
        "cache", "config", "device", "dry_run", "ffmpeg", "json_output", "output", "overwrite",
        "quiet", "verbose", "workers",
    }
)  # fmt: skip
# Options whose words may be the name of a file: then its content counts.
_WORDS_OR_FILE = frozenset({"background", "model", "ref_text", "vocoder"})
_LONGEST_PATH = 4096


class ContentHashes:
    """SHA-256 of files, each read once as long as its size, time and inode stay the same.

    Kept in memory only; several threads may ask at the same time.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int], str]] = {}

    def of(self, path: Path) -> str:
        """64 hexadecimal digits. Raises InputError when the file cannot be read."""
        try:
            found = path.stat()
            version = (found.st_size, found.st_mtime_ns, found.st_ino)
            known = self._known.get(path)
            if known is not None and known[0] == version:
                return known[1]
            digest = store.sha256(path)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise InputError(
                f"{path}: cannot be read ({why}); check the path in the row"
            ) from error
        self._known[path] = (version, digest)
        return digest


def fingerprint_of(
    job: Job,
    *,
    ref_sha256: str,
    text_sha256: str,
    audio_sha256: str,
    versions: Mapping[str, str],
    hashes: ContentHashes | None = None,
) -> str:
    """SHA-256 (hexadecimal) of the content of the inputs, the options with the seed, and what made
    it: ``versions`` names e.g. the package's version and the hash of the weights.

    Names do not count: not those of files, of the row, of its output, nor its place in the table;
    files that options name (``ref_audio``) count by their content, read through ``hashes``.
    Raises InputError for such a file that cannot be read, TypeError for an option that JSON does
    not know.
    """
    hashes = hashes or ContentHashes()
    options = {
        name: _canonical(name, value, hashes)
        for name, value in job.options.items()
        if name not in _WITHOUT_EFFECT
    }
    document = {
        "format": _FORMAT, "ref": ref_sha256, "text": text_sha256, "audio": audio_sha256,
        "options": options, "versions": dict(versions),
    }  # fmt: skip
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(name: str, value: Any, hashes: ContentHashes) -> Any:
    if isinstance(value, Path):
        # A folder (of a speech model, say) is known by its name only.
        return str(value) if value.is_dir() else {"sha256": hashes.of(value)}
    if isinstance(value, str):
        if name in _WORDS_OR_FILE and _is_file(value):
            return {"sha256": hashes.of(Path(value))}
        return value
    if isinstance(value, Mapping):
        return {str(key): _canonical(name, part, hashes) for key, part in value.items()}
    if isinstance(value, Sequence):
        return [_canonical(name, part, hashes) for part in value]
    return value


def _is_file(text: str) -> bool:
    try:
        return len(text) < _LONGEST_PATH and Path(text).is_file()
    except (OSError, ValueError):  # longer than names may be, or with a NUL
        return False
