"""Weights that are on this machine: import files, verify, remove."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from omnitalk_cli.errors import InputError, SetupError, UsageError
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.weights.catalog import Entry, RemoteFile, catalog
from omnitalk_cli.weights.checks import (
    accepted_licence,
    check_licences,
    check_space,
    public_entry,
)
from omnitalk_cli.weights.install import (
    Note,
    Origin,
    install,
    only_one,
    staging_folder,
    sweep,
)
from omnitalk_cli.weights.receipt import FileFacts
from omnitalk_cli.weights.store import Installed, look_at, sha256, weights_folder

_OTHER_NAMES = {
    "vocabulary.txt": "vocabulary.json", "vocabulary.json": "vocabulary.txt",
}  # fmt: skip
# A Whisper that hears another mel than the usual one says so there.
_OPTIONAL = {"ctranslate2": "preprocessor_config.json"}
State = Literal["ok", "differs", "missing", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What became of one installed file. ``unknown``: nothing is written down to compare with."""

    name: str
    file: str
    state: State
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def import_file(
    path: Path,
    name: str,
    *,
    accepted: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress = silent,
    note: Note = lambda text: None,
) -> Installed:
    """Installs a checkpoint that was fetched by other means as the public entry ``name``.

    ``path`` is the checkpoint, or a folder with it under its public name; other files that the
    entry needs lie beside it under their public names. Another content than the public one (a
    fine-tune) is a note, not an error. Raises InputError, UsageError, WorkError.
    """
    entry = public_entry(name)
    source = entry.source
    assert source is not None
    main = path / source.files[0].base if path.is_dir() else path
    command = f"omnitalk weights import {shlex.quote(str(path))} --as {name}"
    check_licences([entry], accepted, command)
    files = {source.files[0].base: main}
    files |= {path.name: path for path in (_beside(main, file) for file in source.files[1:])}
    optional = main.with_name(_OPTIONAL.get(source.importer, main.name))
    if optional.is_file() and optional != main:
        files.setdefault(optional.name, optional)
    for base, file in files.items():
        if not file.is_file():
            beside = "" if file == main else f"; {name} needs {base} beside {main.name}"
            raise InputError(f"{file}: no such file{beside}")
    size = sum(file.stat().st_size for file in files.values())
    check_space(weights_folder(), size, name)
    with only_one(entry, note):
        if (weights_folder() / name).exists() and not overwrite:
            raise UsageError(f"{weights_folder() / name}: exists already; use --overwrite")
        facts = [
            FileFacts(name=base, size=file.stat().st_size, sha256=sha256(file))
            for base, file in files.items()
        ]
        _check_meant(entry, main, facts[0])
        for known, fact in zip(source.files, facts, strict=False):  # an optional one is the last
            if known.sha256 is not None and known.sha256 != fact.sha256:
                note(f"{fact.name} is not the public one of {source.page}; taken as your own")
        origin = Origin(
            origin="import",
            source=str(main.resolve()),
            revision="",
            commit="",
            accepted=accepted_licence(entry, accepted),
            fetched=tuple(facts),
        )
        install(entry, files, origin, overwrite=overwrite, progress=progress)
    return look_at(entry)


def _beside(main: Path, file: RemoteFile) -> Path:
    """Where ``file`` of the same weights lies: CTranslate2's vocabulary is a ``.txt`` or, made by
    newer versions, a ``.json``, and either is read."""
    path = main.with_name(file.base)
    other = main.with_name(_OTHER_NAMES.get(file.base, file.base))
    return other if other.is_file() and not path.is_file() else path


def _check_meant(entry: Entry, main: Path, fact: FileFacts) -> None:
    """Raises UsageError for the public checkpoint of other weights: the versions of F5-TTS have the
    same shapes, so that nothing else would tell them apart."""
    for other in catalog().entries:
        if other.source is None or other.name == entry.name:
            continue
        known = other.source.files[0].sha256
        if known == fact.sha256 and known != _checkpoint(entry):
            raise UsageError(f"{main}: is the public {other.name}; use --as {other.name}")


def _checkpoint(entry: Entry) -> str | None:
    return entry.source.files[0].sha256 if entry.source else None


def verify(names: Sequence[str], *, progress: Progress = silent) -> tuple[Verified, ...]:
    """Hashes the files of installed weights again: those of ``names``, or all public ones.

    Raises UsageError for unknown names, SetupError for named ones that are not installed.
    """
    wanted = [catalog().entry(name) for name in dict.fromkeys(names)]
    if not names:
        wanted = [item for item in catalog().entries if not item.embedded]
    found: list[Verified] = []
    for number, entry in enumerate(wanted):
        state = look_at(entry)
        if state.path is not None:
            found += _compare(state)
        elif names:
            raise SetupError(f"{entry.name} is not installed; {entry.how_to_get}")
        progress("verifying", number + 1, len(wanted))
    return tuple(found)


def remove(names: Sequence[str], note: Note = lambda text: None) -> tuple[Installed, ...]:
    """Deletes installed public weights, and what pulls of them left behind; returns what was there.

    Raises UsageError for unknown and for embedded ones, before anything is deleted.
    """
    wanted = [public_entry(name) for name in dict.fromkeys(names)]
    gone = []
    for entry in wanted:
        if not weights_folder().is_dir():
            gone.append(Installed(entry=entry))
            continue
        with only_one(entry, note):
            gone.append(look_at(entry))
            sweep(entry)
            _delete(entry)
    return tuple(gone)


def _delete(entry: Entry) -> None:
    for path in (weights_folder() / entry.name, staging_folder() / entry.name):
        if path.is_symlink():  # what it leads to is not ours
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)


def _compare(state: Installed) -> list[Verified]:
    name, receipt = state.entry.name, state.receipt
    assert state.path is not None
    if receipt is None and state.problem:
        why = f"{state.problem}; {state.repair}"
        return [Verified(name=name, file=state.path.name, state="differs", why=why)]
    if receipt is None:
        why = "comes with omnitalk" if state.entry.embedded else "was put there without a receipt"
        return [Verified(name=name, file=state.path.name, state="unknown", why=why)]
    found = []
    for file in receipt.installed:
        path = state.path.with_name(file.name)
        if not path.is_file():
            why = f"is gone; {state.repair}"
            result = Verified(name=name, file=file.name, state="missing", why=why)
        elif path.stat().st_size != file.size or sha256(path) != file.sha256:
            why = f"was changed since it was installed; {state.repair}"
            result = Verified(name=name, file=file.name, state="differs", why=why)
        else:
            result = Verified(name=name, file=file.name, state="ok")
        found.append(result)
    return found
