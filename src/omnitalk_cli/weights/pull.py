"""Public weights from the network: plan, fetch, check, convert, install."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnitalk_cli.errors import SetupError, WorkError
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.weights import hub
from omnitalk_cli.weights.catalog import Entry, RemoteFile, catalog
from omnitalk_cli.weights.checks import (
    WrongFileError,
    accepted_licence,
    check_announced,
    check_file,
    check_licences,
    check_space,
    free_space,
    public_entry,
)
from omnitalk_cli.weights.download import disk_error, download, seconds
from omnitalk_cli.weights.importers.registry import IMPORTERS
from omnitalk_cli.weights.install import Note, Origin, install, only_one, staging_folder
from omnitalk_cli.weights.receipt import FileFacts, Receipt
from omnitalk_cli.weights.store import Installed, look_at, weights_folder


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a pull would do: entries to fetch and those that are there, the bytes to fetch and the
    most that the disk must hold on the way (None: a size is not known yet), and what it has."""

    wanted: tuple[Entry, ...]
    there: tuple[Entry, ...]
    fetch: int | None
    needed: int | None
    free: int
    folder: Path

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "wanted": [
                {
                    "name": item.name,
                    "source": item.source.page if item.source else None,
                    "download_bytes": item.source.size if item.source else None,
                    "licence": item.licence.name,
                    "allows": item.licence.allows,
                    "non_commercial": item.licence.non_commercial,
                }
                for item in self.wanted
            ],
            "there": [item.name for item in self.there],
            "download_bytes": self.fetch,
            "needed_bytes": self.needed,
            "free_bytes": self.free,
            "folder": str(self.folder),
        }


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """An entry after a pull; ``fetched`` is false when it was there already."""

    item: Installed
    fetched: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**self.item.to_dict(), "fetched": self.fetched}


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """A file of an entry: either ``there``, with its facts, or to be fetched from ``located`` into
    ``part``."""

    file: RemoteFile
    there: tuple[Path, FileFacts] | None
    located: hub.Located | None
    part: Path


def chosen(names: Sequence[str], profiles: Sequence[str]) -> tuple[Entry, ...]:
    """The public entries that are meant, each once. Raises UsageError for unknown names."""
    members = [member for name in profiles for member in catalog().profile(name).members]
    return tuple(public_entry(name) for name in dict.fromkeys((*names, *members)))


def plan_pull(entries: Sequence[Entry], *, overwrite: bool = False) -> Plan:
    """What ``pull`` would do. Asks nobody and changes nothing."""
    there = () if overwrite else tuple(item for item in entries if _current(look_at(item)))
    wanted = tuple(item for item in entries if item not in there)
    sizes = [item.source.size if item.source else 0 for item in wanted]
    known = [size for size in sizes if size is not None]
    whole = len(known) == len(sizes)
    return Plan(
        wanted=wanted,
        there=there,
        fetch=sum(known) if whole else None,
        # Fetched files are deleted when they are converted, before the next entry begins.
        needed=sum(known) + max(known, default=0) if whole else None,
        free=free_space(weights_folder()),
        folder=weights_folder(),
    )


def pull(
    entries: Sequence[Entry],
    *,
    accepted: Sequence[str] = (),
    offline: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
    note: Note = lambda text: None,
) -> tuple[Pulled, ...]:
    """Installs what of ``entries`` is not installed, one after the other.

    ``accepted`` names licences that the user accepts; ``offline`` takes only what the hub's cache
    or an earlier pull holds. What was fetched before an error or Ctrl-C is kept for the next pull;
    nothing is installed in part. Raises OmnitalkErrors of one line.
    """
    if not overwrite:
        _check_imported(entries)
    plan = plan_pull(entries, overwrite=overwrite)
    command = "omnitalk weights pull " + " ".join(shlex.quote(item.name) for item in entries)
    command += " --overwrite" if overwrite else ""
    check_licences(plan.wanted, accepted, command)
    if plan.fetch is not None:  # what is installed is about as large as what is fetched
        check_space(plan.folder, plan.fetch, ", ".join(item.name for item in plan.wanted))
    offline = offline or hub.offline()
    done = []
    for entry in entries:
        state = look_at(entry)
        if _current(state) and not overwrite:  # also where the folder can only be read
            done.append(Pulled(item=state, fetched=False))
            continue
        with only_one(entry, note):
            state = look_at(entry)
            if _current(state) and not overwrite:  # by another run, meanwhile
                done.append(Pulled(item=state, fetched=False))
                continue
            check_licences([entry], accepted, command)  # if it was removed just now
            if accepted_licence(entry, accepted):
                note(f"{entry.name}: accepted {entry.licence.summary}")
            _install(entry, accepted, offline=offline, progress=progress)
            done.append(Pulled(item=look_at(entry), fetched=True))
    return tuple(done)


def _check_imported(entries: Sequence[Entry]) -> None:
    """Raises WorkError for damaged weights that the user imported: no pull brings them back."""
    for state in map(look_at, entries):
        if state.problem and state.receipt is not None and state.receipt.origin == "import":
            raise WorkError(
                f"{state.problem}; {state.repair}, or pull the public ones with --overwrite"
            )


def _current(state: Installed) -> bool:
    """Whether there is nothing to do. What the user imported is left alone."""
    receipt, source = state.receipt, state.entry.source
    if state.path is None or state.problem or source is None:
        return False
    if receipt is None or receipt.origin != "pull":
        return True
    same = source.revision in ("main", receipt.revision)
    return same and receipt.importer_version >= IMPORTERS[source.importer].version


def _install(
    entry: Entry, accepted: Sequence[str], *, offline: bool, progress: Progress
) -> Receipt:
    assert entry.source is not None
    commit, pieces = _find(entry, offline=offline)
    to_fetch = [
        piece.located.address.size or piece.file.size or 0
        for piece in pieces
        if piece.located is not None
    ]
    there = [piece.there[1].size for piece in pieces if piece.there is not None]
    begun = sum(piece.part.stat().st_size for piece in pieces if piece.part.is_file())
    # The files to fetch, and what they are converted into.
    check_space(weights_folder(), 2 * sum(to_fetch) + sum(there) - begun, entry.name)
    files: dict[str, Path] = {}
    facts: list[FileFacts] = []
    for piece in pieces:
        path, fact = _fetch(entry, piece, progress)
        files[piece.file.base] = path
        facts.append(fact)
    origin = Origin(
        origin="pull",
        source=entry.source.page,
        revision=entry.source.revision if entry.source.repository else "",
        commit=commit,
        accepted=accepted_licence(entry, accepted),
        fetched=tuple(facts),
    )
    receipt = install(entry, files, origin, overwrite=True, progress=progress)
    shutil.rmtree(staging_folder() / entry.name, ignore_errors=True)
    return receipt


def _find(entry: Entry, *, offline: bool) -> tuple[str, list[_Piece]]:
    """The commit, and where each file is or can be had from."""
    source = entry.source
    assert source is not None
    commit = "" if source.revision == "main" else source.revision
    if source.repository is not None and not commit:
        first = hub.cached(source, source.files[0], "main") if offline else None
        if not offline:
            commit = hub.locate(entry, source.files[0], "main").commit
        elif first is not None:
            commit = first[1]
    stage = staging_folder() / entry.name / (commit or (source.files[0].sha256 or "")[:40])
    if not offline:
        _forget_others(stage)
    pieces = []
    for file in source.files:
        part = stage / f"{file.base}.part"
        there = _there(entry, file, stage / file.base, commit)
        if there is None and offline:
            raise SetupError(
                f"{entry.name}: {file.base} is not in {hub.cache_folder()} and may not be fetched "
                f"(offline); pull it with a network, or use omnitalk weights import FILE --as "
                f"{entry.name}"
            )
        located = hub.locate(entry, file, commit) if there is None else None
        if located is not None:
            label = located.address.label
            check_announced(label, file, located.address.size, located.etag)
        pieces.append(_Piece(file=file, there=there, located=located, part=part))
    return commit, pieces


def _there(
    entry: Entry, file: RemoteFile, staged: Path, commit: str
) -> tuple[Path, FileFacts] | None:
    """The file if an earlier pull or another program fetched it whole."""
    assert entry.source is not None
    cached = hub.cached(entry.source, file, commit) if commit else None
    for path in (staged, cached[0] if cached else None):
        if path is None or not path.is_file():
            continue
        try:
            return path, check_file(path, file)
        except WrongFileError:
            if path == staged:  # the hub's cache is not ours to tidy
                path.unlink()
    return None


def _fetch(entry: Entry, piece: _Piece, progress: Progress) -> tuple[Path, FileFacts]:
    if piece.there is not None:
        return piece.there
    located = piece.located
    assert located is not None
    size = located.address.size or piece.file.size
    total = size / 1e6 if size else None
    stage = f"{entry.name} {piece.file.base} (MB)"
    try:
        piece.part.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(piece.part, error) from error
    with hub.refusals(entry, piece.file):
        download(
            located.address,
            piece.part,
            report=lambda done: progress(stage, done / 1e6, total),
            timeout=seconds("HF_HUB_DOWNLOAD_TIMEOUT", 10.0),
        )
    try:
        fact = check_file(piece.part, piece.file, located.etag)
    except WrongFileError as error:
        piece.part.unlink()
        raise WrongFileError(f"{entry.name}: {error}; nothing was installed, try again") from error
    progress(stage, fact.size / 1e6, fact.size / 1e6)
    whole = piece.part.with_name(piece.file.base)
    piece.part.replace(whole)
    return whole, fact


def _forget_others(stage: Path) -> None:
    """Deletes what was fetched of other commits."""
    for folder in stage.parent.glob("*"):
        if folder != stage:
            shutil.rmtree(folder, ignore_errors=True)
