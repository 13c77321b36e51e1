"""The Hugging Face hub: what it says of a file, what its cache holds, and its refusals in words.

``HF_ENDPOINT`` (a mirror), ``HF_HOME``, ``HF_HUB_CACHE``, ``HF_TOKEN``, ``HF_HUB_OFFLINE`` and the
hub's timeouts are read when they are needed: its library reads most of them when it is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omnitalk_cli.errors import SetupError, WorkError
from omnitalk_cli.weights.catalog import Entry, RemoteFile, Source
from omnitalk_cli.weights.download import Address, RefusedError, seconds

_TRUE = {"1", "on", "yes", "true"}


@dataclass(frozen=True, kw_only=True)
class Located:
    """A file as a server announces it.

    ``commit`` is what the revision was (empty off the hub). ``etag`` is the SHA-256 of a large
    file, the git hash (SHA-1) of a small one, or empty.
    """

    address: Address
    commit: str
    etag: str


def offline() -> bool:
    """Whether the user's environment forbids the network."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").lower() in _TRUE for name in names)


def endpoint() -> str:
    """The hub's address, or that of the mirror in ``HF_ENDPOINT``."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def cache_folder() -> Path:
    """Where the hub's own library keeps files."""
    chosen = os.environ.get("HF_HUB_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    general = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{general}/huggingface"
    return Path(home).expanduser() / "hub"


def cached(source: Source, file: RemoteFile, revision: str) -> tuple[Path, str] | None:
    """A file that other programs have fetched from the hub already, and its commit."""
    from huggingface_hub import try_to_load_from_cache

    if source.repository is None:
        return None
    found = try_to_load_from_cache(
        source.repository, file.name, cache_dir=cache_folder(), revision=revision
    )
    if not isinstance(found, str):
        return None
    parents = Path(found).parents
    return Path(found), parents[len(Path(file.name).parts) - 1].name  # snapshots/COMMIT/NAME


def locate(entry: Entry, file: RemoteFile, revision: str) -> Located:
    """Asks for a file of ``entry`` at ``revision`` without fetching it.

    Raises SetupError without network or access, WorkError when there is no such file.
    """
    from huggingface_hub import constants, get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    from omnitalk_cli import __version__

    assert entry.source is not None
    label = f"{entry.name} ({file.base})"
    if entry.source.repository is None:
        url = f"{entry.source.url}/{file.name}"
        own = {"User-Agent": f"omnitalk/{__version__}"}
        address = Address(url=url, headers=own, size=file.size, label=label)
        return Located(address=address, commit="", etag="")
    # Otherwise the library tells the hub what is installed here, and first fetches a list for it.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    base = endpoint()
    url = hf_hub_url(entry.source.repository, file.name, revision=revision, endpoint=base)
    headers = build_hf_headers(
        token=get_token() or False, library_name="omnitalk", library_version=__version__
    )
    with refusals(entry, file):
        said = get_hf_file_metadata(
            url, token=False, headers=headers, endpoint=base,
            timeout=seconds("HF_HUB_ETAG_TIMEOUT", 10.0),
        )  # fmt: skip
    commit = said.commit_hash or ("" if revision == "main" else revision)
    if not commit:
        raise WorkError(f"{label}: {base} does not say which commit main is; HF_ENDPOINT is no hub")
    fixed = hf_hub_url(entry.source.repository, file.name, revision=commit, endpoint=base)
    address = Address(url=fixed, headers=headers, size=said.size, label=label)
    return Located(address=address, commit=commit, etag=said.etag or "")


@contextmanager
def refusals(entry: Entry, file: RemoteFile) -> Iterator[None]:
    """Turns the errors of the hub's library, of HTTP and of the network into one line each."""
    import httpx2
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RevisionNotFoundError,
    )

    assert entry.source is not None
    page = entry.source.page
    try:
        yield
    except GatedRepoError as error:
        raise SetupError(_closed(entry)) from error
    except RevisionNotFoundError as error:
        raise WorkError(
            f"{entry.name}: {page} has no revision {entry.source.revision} any more; "
            "a newer omnitalk may know another"
        ) from error
    except (HfHubHTTPError, RefusedError) as error:
        status = error.status if isinstance(error, RefusedError) else error.response.status_code
        if status in (401, 403):
            raise SetupError(_closed(entry)) from error
        if status == 404:
            raise WorkError(
                f"{entry.name}: {page} has no file {file.name}; a newer omnitalk may know where "
                "it is, or fetch it elsewhere and use omnitalk weights import FILE --as "
                f"{entry.name}"
            ) from error
        raise WorkError(f"{entry.name}: {page} answers HTTP {status}; try again later") from error
    except UnicodeEncodeError as error:  # of a header; it must not be shown
        raise SetupError(
            f"{entry.name}: your token (HF_TOKEN, or that of the hub's own login) holds characters "
            "that are in no token; copy it again"
        ) from error
    except OfflineModeIsEnabled as error:
        raise SetupError(f"{entry.name}: HF_HUB_OFFLINE forbids the network") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        where = endpoint() if entry.source.repository else page
        why = " ".join(str(error).split()) or type(error).__name__
        other = (
            "name a mirror in HF_ENDPOINT"
            if entry.source.repository  # of other servers there is none
            else f"fetch {file.base} elsewhere and use omnitalk weights import FILE --as "
            f"{entry.name}"
        )
        raise SetupError(
            f"{entry.name}: no connection to {where} ({why}); check the network and the proxy, or "
            f"{other}"
        ) from error


def _closed(entry: Entry) -> str:
    from huggingface_hub import get_token

    assert entry.source is not None
    if entry.source.repository is None:
        return f"{entry.name}: {entry.source.page} refuses access"
    page = f"{endpoint()}/{entry.source.page}"
    if get_token():  # the hub refuses a stale one also where none is needed
        return (
            f"{entry.name}: {entry.source.page} refuses your token (HF_TOKEN, or that of the hub's "
            f"own login); renew it or leave it out, and accept the terms on {page} if there are any"
        )
    return (
        f"{entry.name}: {entry.source.page} lets nobody in without an account; accept its terms on "
        f"its page ({page}) and put your token into HF_TOKEN"
    )
