"""What the C2PA library reports of a file's manifests, in our words.

Manifests come from strangers: every text is cleaned and cut, nothing is taken to have its type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from omnitalk_cli.provenance.claim import (
    ACTIONS_LABEL,
    GENERATOR,
    MARK_ALGORITHMS,
    SOFT_BINDING_LABEL,
)
from omnitalk_cli.provenance.text import cleaned

State = Literal["trusted", "valid-untrusted", "invalid", "absent"]

_STATES: dict[str, State] = {"Trusted": "trusted", "Valid": "valid-untrusted"}
_LONGEST = 200  # letters of any text
_MOST = 20  # problems
_ID = re.compile(r"[0-9a-f]{8}|[0-9a-f]{4}")
_AGED = {"signingCredential.expired", "signingCredential.untrusted"}
_HARD_BINDING = re.compile(r"assertion\.(bmff|data|boxes|collection)Hash\.match")
# Status codes of C2PA 2.2, section 15.2.2, by what they begin with, the longest first.
_WORDS = {
    "signingCredential.untrusted": "the signer is not among those that are trusted here",
    "signingCredential.expired": "the signer's certificate had expired",
    "signingCredential.revoked": "the signer's certificate has been revoked",
    "signingCredential.ocsp.revoked": "the signer's certificate has been revoked",
    "signingCredential.invalid": "the signer's certificate is not fit for signing",
    "claimSignature.outsideValidity": "it was signed when the certificate was not valid",
    "claimSignature": "the signature does not fit what was signed",
    "claim.hardBindings.missing": "nothing ties the credentials to this file",
    "claim": "the claim is damaged",
    "assertion.bmffHash.mismatch": "the file was changed after it was signed",
    "assertion.dataHash.mismatch": "the file was changed after it was signed",
    "assertion.boxesHash.mismatch": "the file was changed after it was signed",
    "assertion.collectionHash.mismatch": "the file was changed after it was signed",
    "assertion.hashedURI.mismatch": "a statement was changed after it was signed",
    "assertion.missing": "a statement was taken out",
    "assertion.undeclared": "a statement was put in after signing",
    "assertion": "a statement is malformed",
    "ingredient": "the credentials of something it was made from do not hold",
    "timeStamp": "the time stamp cannot be relied on",
    "manifest.inaccessible": "the credentials lie elsewhere and were not fetched",
    "manifest": "the manifest is malformed",
    "algorithm": "an outdated or unknown algorithm was used",
}


@dataclass(frozen=True, kw_only=True)
class CredentialsReading:
    """What the Content Credentials of a file say, and how far that can be relied on.

    ``state``: ``trusted`` (unchanged, signer known here), ``valid-untrusted`` (unchanged, signer
    unknown, or with a certificate that has expired), ``invalid`` (changed since, or malformed),
    ``absent``. Unless it is ``trusted``, all else is the word of whoever signed: anybody can sign
    as "omnitalk".

    ``ours``: the newest manifest names omnitalk as its maker. ``mark_id`` of ``bits`` (0 without
    one) is what the invisible marks should say. ``generator``: name and version; ``signer`` and
    ``issuer``: common name and organisation in the certificate; ``time``: ISO 8601, from a time
    stamp server if ``time_stamped``, else as the maker says; ``digital_source_type``: the last
    part of IPTC's address, e.g. ``trainedAlgorithmicMedia``; ``problems``: one short line each.
    """

    state: State
    ours: bool = False
    mark_id: int | None = None
    bits: int = 0
    generator: str | None = None
    signer: str | None = None
    issuer: str | None = None
    time: str | None = None
    time_stamped: bool = False
    digital_source_type: str | None = None
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return vars(self) | {"problems": list(self.problems)}


def report(store: object) -> CredentialsReading:
    """The reading of the library's JSON, parsed; whatever is not as it should be is left out."""
    manifest = _dict(_dict(_get(store, "manifests")).get(str(_get(store, "active_manifest"))))
    name, generator = _generator(manifest)
    mark_id, bits = _mark(manifest)
    created = next((each for each in _actions(manifest) if _creates(each)), {})
    signature = _dict(manifest.get("signature_info"))
    stamped = line_of(signature.get("time"))
    state = _STATES.get(str(_get(store, "validation_state")), "invalid")
    if state == "invalid" and _only_expired(store):
        state = "valid-untrusted"
    return CredentialsReading(
        state=state,
        ours=name == GENERATOR,
        mark_id=mark_id,
        bits=bits,
        generator=generator,
        signer=line_of(signature.get("common_name")),
        issuer=line_of(signature.get("issuer")),
        time=stamped or line_of(created.get("when")),
        time_stamped=stamped is not None,
        digital_source_type=line_of(str(created.get("digitalSourceType", "")).rpartition("/")[2]),
        problems=_problems(store),
    )


def line_of(value: object) -> str | None:
    """``value`` as one short line of printable letters; None if that leaves nothing."""
    return (cleaned(value, _LONGEST) or None) if isinstance(value, str) else None


def _generator(manifest: dict[str, Any]) -> tuple[str | None, str | None]:
    first = _dict(next(iter(_list(manifest.get("claim_generator_info"))), None))
    name, version = line_of(first.get("name")), line_of(first.get("version"))
    if name is None:  # manifests of C2PA 1
        return None, line_of(manifest.get("claim_generator"))
    return name, line_of(f"{name} {version}" if version else name)


def _assertions(manifest: dict[str, Any], label: str) -> Iterator[dict[str, Any]]:
    for each in map(_dict, _list(manifest.get("assertions"))):
        # Labels end in a version or a number: c2pa.actions.v2, c2pa.soft-binding__1.
        if re.fullmatch(re.escape(label) + r"(\.v\d+)?(__\d+)?", str(each.get("label"))):
            yield _dict(each.get("data"))


def _actions(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for data in _assertions(manifest, ACTIONS_LABEL):
        yield from map(_dict, _list(data.get("actions")))


def _creates(action: dict[str, Any]) -> bool:
    return action.get("action") == "c2pa.created"


def _mark(manifest: dict[str, Any]) -> tuple[int | None, int]:
    """The id in the soft bindings of our marks, the longest one, and its bits."""
    found = [
        value
        for data in _assertions(manifest, SOFT_BINDING_LABEL)
        if data.get("alg") in MARK_ALGORITHMS.values()
        for block in map(_dict, _list(data.get("blocks")))
        if isinstance(value := block.get("value"), str) and _ID.fullmatch(value)
    ]
    if not found:
        return None, 0
    longest = max(found, key=len)
    return int(longest, 16), 4 * len(longest)


def _problems(store: object) -> tuple[str, ...]:
    return tuple(list(dict.fromkeys(map(_in_words, _codes(store, "failure"))))[:_MOST])


def _only_expired(store: object) -> bool:
    """Whether signature and file fit, and nothing is wrong but the age of the certificate: without
    a time stamp from a server the library calls that invalid, though nothing was changed."""
    passed = _codes(store, "success")
    return (
        set(_codes(store, "failure")) <= _AGED
        and "claimSignature.validated" in passed
        and any(_HARD_BINDING.fullmatch(code) for code in passed)
    )


def _codes(store: object, kind: Literal["failure", "success"]) -> list[str]:
    """The status codes of the newest manifest, and of those that it was made from."""
    results = _dict(_get(store, "validation_results"))
    found = list(_list(_dict(results.get("activeManifest")).get(kind)))
    if kind == "failure":
        for delta in map(_dict, _list(results.get("ingredientDeltas"))):
            found += _list(_dict(delta.get("validationDeltas")).get(kind))
    return [line_of(_dict(each).get("code")) or "unknown" for each in found]


def _in_words(code: str) -> str:
    fitting = [begin for begin in _WORDS if code == begin or code.startswith(begin + ".")]
    words = _WORDS[max(fitting, key=len)] if fitting else "something is wrong with the credentials"
    return f"{words} ({code})"


def _get(value: object, name: str) -> object:
    return _dict(value).get(name)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
