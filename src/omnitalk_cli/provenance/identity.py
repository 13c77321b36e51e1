"""Who signs: an identity of this machine, made on first use, or a certificate that the user gives.

The identity of this machine proves only that a file comes from here and was not changed since.
Readers elsewhere see a valid signature of someone that they do not know.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.provenance.keys import key_folder, make_private, private_folder, read_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

IDENTITY_FILE = "signer.pem"

_LARGEST = 1 << 22  # bytes: lists of trusted roots are the longest files here
_ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type:.*ENCRYPTED", re.M)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A signer: ``chain`` and ``private_key`` are PEM, ``algorithm`` is C2PA's name of it.

    ``chain`` begins with the signer's certificate and leaves the root out. ``anchor`` is the
    root as PEM if it is known: with it as trust anchor, what this identity signs reads as trusted.
    """

    chain: str
    private_key: str = field(repr=False)
    algorithm: str
    anchor: str | None


def local_identity(folder: Path | None = None) -> Identity:
    """The identity of this machine in ``folder`` (default ``key_folder()``), made if missing.

    Key and certificates lie in one file that only its owner can read. Several processes that begin
    at the same time get the same identity. Raises SetupError when the file is damaged, expired,
    open to other users, or cannot be made.
    """
    path = private_folder(key_folder() if folder is None else folder) / IDENTITY_FILE
    if not os.path.lexists(path):
        from omnitalk_cli.provenance.certificates import new_chain

        make_private(path, "".join(new_chain()).encode())
    return _stored(path)


def local_anchor(folder: Path | None = None) -> str | None:
    """The root of this machine's identity as PEM, or None if there is none yet; makes nothing.

    Raises SetupError as ``local_identity`` does, except that an expired one still serves.
    """
    path = (key_folder() if folder is None else folder) / IDENTITY_FILE
    return _stored(path, expired=True).anchor if os.path.lexists(path) else None


def given_identity(certificate: Path, key: Path) -> Identity:
    """The identity of the user's own PEM files: signer's certificate first, then its issuers.

    Everything that would make signing fail later is found here. Raises InputError with one line
    about the file that is wrong.
    """
    from omnitalk_cli.provenance import c2pa_engine
    from omnitalk_cli.provenance import certificates as tools

    chain = read_certificates(certificate)
    secret = _private_key(key)
    if not tools.belongs(secret, chain[0]):
        others = any(tools.belongs(secret, each) for each in chain[1:])
        hint = "put that certificate first in the file" if others else "give the two that belong"
        raise InputError(f"{key}: is not the key of the first certificate in {certificate}; {hint}")
    try:
        algorithm = tools.algorithm_of(secret)
        tools.check_signer(chain)
    except ValueError as error:
        raise InputError(f"{certificate}: {error}") from error
    roots = [each for each in chain if each.issuer == each.subject]
    # A root in the chain tells readers nothing; a lone self-signed certificate must stay.
    sent = [each for each in chain if each not in roots] or chain[:1]
    identity = Identity(
        chain="".join(tools.certificate_text(each) for each in sent),
        private_key=tools.key_text(secret),
        algorithm=algorithm,
        anchor=tools.certificate_text(roots[-1]) if roots else None,
    )
    if problem := c2pa_engine.trial(identity):
        raise InputError(f"{certificate}: Content Credentials cannot be signed with it ({problem})")
    return identity


def _stored(path: Path, *, expired: bool = False) -> Identity:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from omnitalk_cli.provenance import certificates as tools

    text = read_private(path, _LARGEST)
    try:
        secret = load_pem_private_key(text, password=None)
        signer, root = x509.load_pem_x509_certificates(text)
        signer.verify_directly_issued_by(root)
        if not tools.belongs(secret, signer):
            raise ValueError("the key is another one's")
        algorithm = tools.algorithm_of(secret)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise SetupError(
            f"{path}: is damaged, it should hold a key and two certificates; restore it, "
            "or move it away, and a new one will be made (old files then read as of another signer)"
        ) from error
    try:
        tools.check_signer([signer])
    except ValueError as error:
        if not expired:
            raise SetupError(
                f"{path}: {error}; move it away, and a new one will be made"
            ) from error
    return Identity(
        chain=tools.certificate_text(signer),
        private_key=tools.key_text(secret),
        algorithm=algorithm,
        anchor=tools.certificate_text(root),
    )


def _given(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise InputError(f"{path}: is not a file; give a PEM file")
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def read_certificates(path: Path) -> list[Certificate]:
    """The certificates in a PEM file of the user's. Raises InputError if one cannot be read."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(_given(path))
    except ValueError as error:
        raise InputError(
            f"{path}: holds no readable certificate; give it as PEM "
            "(text that begins with -----BEGIN CERTIFICATE-----)"
        ) from error


def _private_key(path: Path) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = _given(path)
    if _ENCRYPTED.search(text):
        raise InputError(
            f"{path}: the key is encrypted, and nothing here asks for a password; decrypt it "
            "into a private file first (`umask 077; openssl pkey -in KEY -out PLAIN`)"
        )
    try:
        return load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"{path}: holds no readable private key; give it as PEM "
            "(text that begins with -----BEGIN PRIVATE KEY-----)"
        ) from error
