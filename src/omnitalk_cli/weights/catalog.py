"""The weights that omnitalk knows by name: ``catalog.toml``, read strictly."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files as resource_files
from pathlib import PurePosixPath
from typing import Any, TypeVar

from omnitalk_cli.errors import UsageError
from omnitalk_cli.weights.importers.registry import IMPORTERS

_NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Licence:
    """A licence by its SPDX name; ``allows`` says in one sentence what it lets a user do."""

    name: str
    allows: str
    non_commercial: bool

    @property
    def summary(self) -> str:
        """Name and meaning in one line."""
        return f"{self.name}: {self.allows}"


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a repository: ``name`` in it, ``size`` in bytes and hex ``sha256`` where known."""

    name: str
    size: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        path = PurePosixPath(self.name)
        if path.is_absolute() or ".." in path.parts or "\\" in self.name or not path.name:
            raise ValueError(f"name {self.name!r} is no path inside a repository")
        if self.size is not None and self.size <= 0:
            raise ValueError(f"size of {self.name} must be positive")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 of {self.name} must be 64 hexadecimal digits")

    @property
    def base(self) -> str:
        """The name without its folders."""
        return PurePosixPath(self.name).name


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where public weights come from, and the importer that makes ours of them.

    Either ``repository`` (on the hub, at ``revision``: a commit or ``main``) or ``url`` (a folder
    of files anywhere else, whose hashes must be known). The first file is the checkpoint.
    """

    repository: str | None = None
    url: str | None = None
    revision: str = "main"
    files: tuple[RemoteFile, ...]
    importer: str

    def __post_init__(self) -> None:
        if (self.repository is None) == (self.url is None):
            raise ValueError("give either repository or url")
        if self.repository is not None and self.repository.count("/") != 1:
            raise ValueError(f"repository {self.repository!r} must be OWNER/NAME")
        if self.revision != "main" and not _COMMIT.fullmatch(self.revision):
            raise ValueError("revision must be a commit of 40 digits, or main")
        if not self.files:
            raise ValueError("files are missing")
        if len({file.base for file in self.files}) != len(self.files):
            raise ValueError("two files have the same base name")
        if self.url is not None and not all(file.sha256 for file in self.files):
            raise ValueError("files of a url need a sha256")
        if self.importer not in IMPORTERS:
            raise ValueError(f"importer {self.importer!r} is unknown")

    @property
    def pinned(self) -> bool:
        """Whether it always means the same files."""
        return self.url is not None or self.revision != "main"

    @property
    def size(self) -> int | None:
        """Bytes of all files together; None when one of them is not known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def page(self) -> str:
        """What to call the place: OWNER/NAME, or the address."""
        return self.repository or self.url or ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Weights with a name. ``main`` is the base name of the file that stands for them, ``job`` what
    they are for; ``source`` is None for those that come with the package."""

    name: str
    main: str
    job: str
    about: str
    licence: Licence
    source: Source | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r} must be small letters, digits, dots and dashes")
        if PurePosixPath(self.main).name != self.main or self.main in ("", "receipt.json"):
            raise ValueError(f"main {self.main!r} must be the name of a file")

    @property
    def embedded(self) -> bool:
        """Whether they come with the package."""
        return self.source is None

    @property
    def download(self) -> str:
        """How much there is to fetch, in words: ``1.35 GB``."""
        return size_words(self.source.size if self.source else None)

    @property
    def how_to_get(self) -> str:
        """The command that installs them."""
        if self.embedded:
            return "install the omnitalk-cli wheel again, or use a complete checkout"
        return f"omnitalk weights pull {self.name}"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Several entries under one name."""

    name: str
    about: str
    members: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All entries, embedded ones first, and the profiles."""

    entries: tuple[Entry, ...]
    profiles: tuple[Profile, ...]

    def __post_init__(self) -> None:
        names = [item.name for item in self.entries]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"more than one entry is called {', '.join(sorted(twice))}")
        public = {item.name for item in self.entries if not item.embedded}
        for profile in self.profiles:
            unknown = set(profile.members) - public
            if unknown or not profile.members:
                raise ValueError(f"profile {profile.name}: no public entry {sorted(unknown)}")

    def entry(self, name: str) -> Entry:
        """The entry of that name. Raises UsageError, with the nearest names."""
        return _named(self.entries, name, "weights")

    def profile(self, name: str) -> Profile:
        """The profile of that name. Raises UsageError."""
        return _named(self.profiles, name, "profile")


@cache
def catalog() -> Catalog:
    """The catalogue of this package."""
    return read_catalog(resource_files(__package__).joinpath("catalog.toml").read_text("utf-8"))


def entries() -> tuple[Entry, ...]:
    """Every entry, embedded ones first."""
    return catalog().entries


def entry(name: str) -> Entry | None:
    """The entry of that name, or None."""
    return next((known for known in entries() if known.name == name), None)


def near(name: str) -> str:
    """What may be meant by a ``name`` that is not in the catalogue, for a message."""
    return _hint(name, [item.name for item in entries()])


def read_catalog(text: str) -> Catalog:
    """A catalogue in TOML. Raises ValueError, naming the entry, for anything that is not right:
    unknown or missing keys, wrong types, unknown licences and importers."""
    document = tomllib.loads(text)
    _check_keys(document, ("licences", "embedded", "public", "profile"), "catalogue")
    licences = {
        name: _made(Licence, {"name": name, **table}, f"licence {name}")
        for name, table in document.get("licences", {}).items()
    }
    return Catalog(
        entries=tuple(
            _entry(table, licences, public=kind == "public")
            for kind in ("embedded", "public")
            for table in document.get(kind, ())
        ),
        profiles=tuple(
            _made(Profile, {**table, "members": tuple(table.get("members", ()))}, "profile")
            for table in document.get("profile", ())
        ),
    )


def size_words(size: int | None) -> str:
    """Bytes in words: ``3.8 MB``, ``1.35 GB``; ``size unknown`` for None."""
    if size is None:
        return "size unknown"
    if size >= 1e9:
        return f"{size / 1e9:.2f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def _entry(table: Mapping[str, Any], licences: Mapping[str, Licence], *, public: bool) -> Entry:
    where = f"entry {table.get('name', '?')}"
    outer = {"name", "main", "job", "about", "licence"}
    values: dict[str, Any] = {key: value for key, value in table.items() if key in outer}
    rest = {key: value for key, value in table.items() if key not in outer}
    if values.get("licence") not in licences:
        raise ValueError(f"{where}: licence {values.get('licence')!r} is not described")
    values["licence"] = licences[values["licence"]]
    if public:
        listed = tuple(_made(RemoteFile, file, where) for file in rest.pop("files", ()))
        values["source"] = _made(Source, {**rest, "files": listed}, where)
    elif rest:
        _check_keys(rest, (), where)
    return _made(Entry, values, where)


def _made(kind: type[_T], values: Mapping[str, Any], where: str) -> _T:
    known = {field.name: str(field.type) for field in fields(kind)}  # type: ignore[arg-type]
    _check_keys(values, known, where)
    for key, value in values.items():
        wanted = {"str": str, "bool": bool, "int": int}.get(known[key].partition(" ")[0])
        if wanted is not None and type(value) is not wanted:
            raise ValueError(f"{where}: {key} must be {wanted.__name__}, not {value!r}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _check_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    unknown = set(table) - set(known)
    if unknown:
        raise ValueError(f"{where}: unknown {', '.join(sorted(unknown))}")


def _named(items: Iterable[Any], name: str, kind: str) -> Any:
    known = {item.name: item for item in items}
    if name in known:
        return known[name]
    what = "no weights called" if kind == "weights" else f"no {kind} called"
    raise UsageError(f"{what} {name}: {_hint(name, known)} (see omnitalk weights list)")


def _hint(name: str, known: Iterable[str]) -> str:
    names = list(known)
    alike = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(alike)}?" if alike else f"there are {', '.join(names)}"
