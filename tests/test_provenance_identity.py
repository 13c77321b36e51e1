"""Signing identities: made once and private, and given ones checked before any work begins."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.provenance.identity import (
    IDENTITY_FILE,
    given_identity,
    local_anchor,
    local_identity,
)
from omnitalk_cli.provenance.keys import key_folder

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
_ROOT = ec.generate_private_key(ec.SECP256R1())
_EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


def _certificate(
    key: Any,
    *,
    purpose: x509.ObjectIdentifier | None = _EMAIL,
    days: tuple[float, float] = (-1, 30),
    signing: bool = True,
    authority: bool = False,
    named_issuer: bool = True,
    digest: Any = None,
) -> str:
    """A certificate for ``key`` by ``_ROOT`` as PEM, with one thing or another wrong."""
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("one", "issuer")
    ]
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(
            _usage(digital_signature=signing, content_commitment=not signing), critical=True
        )
    )
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if named_issuer:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(_ROOT.public_key())
        builder = builder.add_extension(issuer, critical=False)
    made = builder.sign(_ROOT, digest or hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def _key_text(key: Any, password: bytes | None = None, *, old: bool = False) -> str:
    form = serialization.PrivateFormat
    return key.private_bytes(
        serialization.Encoding.PEM,
        form.TraditionalOpenSSL if old else form.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    ).decode()


def _files(folder: Path, certificate: str, key: str) -> tuple[Path, Path]:
    paths = folder / "cert.pem", folder / "key.pem"
    for path, text in zip(paths, (certificate, key), strict=True):
        path.write_text(text)
    return paths


def _p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_identity_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITALK_KEY_DIR", str(tmp_path / "a" / "keys"))
    assert local_anchor() is None and not (tmp_path / "a").exists()
    identity = local_identity()
    assert local_identity() == identity and local_anchor() == identity.anchor
    assert local_identity(tmp_path / "other").chain != identity.chain
    assert key_folder() == tmp_path / "a" / "keys"
    monkeypatch.delenv("OMNITALK_KEY_DIR")
    assert "omnitalk" in str(key_folder())


def test_identity_tells_nothing_of_the_user_and_hides_its_key(tmp_path: Path) -> None:
    identity = local_identity(tmp_path)
    assert "PRIVATE" not in repr(identity) and "PRIVATE" in identity.private_key
    (signer,) = x509.load_pem_x509_certificates(identity.chain.encode())
    assert identity.anchor is not None
    root = x509.load_pem_x509_certificate(identity.anchor.encode())
    signer.verify_directly_issued_by(root)
    assert signer.subject.rfc4514_string() == "CN=omnitalk local signer,O=omnitalk"
    assert root.subject.rfc4514_string() == "CN=omnitalk local root,O=omnitalk"
    assert signer.serial_number != root.serial_number
    assert signer.public_key() != root.public_key()
    purposes = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [_EMAIL]
    authority = signer.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert authority.key_identifier == own.digest
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@posix
def test_files_are_the_owners_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        local_identity(tmp_path / "keys")
    finally:
        os.umask(before)
    assert _mode(tmp_path / "keys") == 0o700
    assert _mode(tmp_path / "keys" / IDENTITY_FILE) == 0o600
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [IDENTITY_FILE]


def test_processes_that_begin_together_get_one_identity(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from omnitalk_cli.provenance.identity import local_identity\n"
        "print(local_identity(Path(sys.argv[1])).chain)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path / "keys"], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    outputs = {process.communicate(timeout=120)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(outputs) == 1 and "CERTIFICATE" in outputs.pop()


@posix
def test_unfit_identity_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / IDENTITY_FILE
    local_identity(tmp_path)
    good = path.read_bytes()
    other = local_identity(tmp_path / "other").private_key.encode()
    path.chmod(0o644)
    for call in (local_identity, local_anchor):
        with pytest.raises(SetupError, match="chmod 600"):
            call(tmp_path)
    mixed = other + good[good.index(b"-----BEGIN CERT") :]
    for content in (b"", b"short", good[:-200], good[200:], mixed, b"\0" * 10_000, good * 200):
        path.write_bytes(content)
        path.chmod(0o600)
        for call in (local_identity, local_anchor):
            with pytest.raises(SetupError, match="damaged"):
                call(tmp_path)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(SetupError, match="not a file"):
        local_identity(tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(SetupError, match="cannot be used"):
        local_identity(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="OMNITALK_KEY_DIR"):
        local_identity(tmp_path / "file" / "keys")


def test_expired_identity_no_longer_signs_but_is_still_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnitalk_cli.provenance.certificates._DAYS", -0.5)
    with pytest.raises(SetupError, match="expired.*new one will be made"):
        local_identity(tmp_path)
    assert "CERTIFICATE" in (local_anchor(tmp_path) or "")


@pytest.mark.parametrize(
    ("make", "old", "algorithm"),
    [
        (_p256, False, "es256"),
        (_p256, True, "es256"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), False, "es384"),
        (lambda: ec.generate_private_key(ec.SECP521R1()), False, "es512"),
        (lambda: rsa.generate_private_key(65537, 2048), True, "ps256"),
        (ed25519.Ed25519PrivateKey.generate, False, "ed25519"),
    ],
)
def test_given_identities_of_every_kind(
    tmp_path: Path, make: Callable[[], Any], old: bool, algorithm: str
) -> None:
    key = make()
    identity = given_identity(*_files(tmp_path, _certificate(key), _key_text(key, old=old)))
    assert identity.algorithm == algorithm and identity.anchor is None


def test_given_chain_keeps_its_root_as_anchor_only(tmp_path: Path) -> None:
    local = local_identity(tmp_path)
    assert local.anchor is not None
    given = given_identity(*_files(tmp_path, local.chain + local.anchor, local.private_key))
    assert given == local
    for purpose in ("1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1"):
        key = _p256()
        text = _certificate(key, purpose=x509.ObjectIdentifier(purpose))
        assert given_identity(*_files(tmp_path, text, _key_text(key))).algorithm == "es256"


def _bad(**how: Any) -> tuple[str, str]:
    key = how.pop("key", None) or _p256()
    return _certificate(key, **how), _key_text(key)


def _two() -> tuple[str, str]:
    first, second = _p256(), _p256()
    return _certificate(first) + _certificate(second), _key_text(second)


def _unlinked() -> tuple[str, str]:
    certificate, key = _bad()
    return certificate + _bad()[0], key


_BAD: dict[str, tuple[Callable[[], tuple[str, str]], str]] = {
    "no certificate": (lambda: ("hello", _key_text(_p256())), "no readable certificate"),
    "empty": (lambda: ("", ""), "no readable certificate"),
    "cut certificate": (lambda: (_bad()[0][:200], _bad()[1]), "no readable certificate"),
    "key as certificate": (lambda: (_bad()[1], _bad()[1]), "no readable certificate"),
    "no key": (lambda: (_bad()[0], "hello"), "no readable private key"),
    "certificate as key": (lambda: (_bad()[0], _bad()[0]), "no readable private key"),
    "encrypted": (
        lambda: (_bad()[0], _key_text(_p256(), b"secret")),
        "encrypted, and nothing here asks",
    ),
    "encrypted, old form": (
        lambda: (_bad()[0], _key_text(_p256(), b"secret", old=True)),
        "encrypted, and nothing here asks",
    ),
    "other key": (lambda: (_bad()[0], _key_text(_p256())), "is not the key of"),
    "wrong order": (_two, "put that certificate first"),
    "unlinked": (_unlinked, "do not follow from each other"),
    "expired": (lambda: _bad(days=(-9, -2)), "has expired on 2"),
    "not yet": (lambda: _bad(days=(2, 9)), "is not valid before"),
    "no purpose": (lambda: _bad(purpose=None), "extended key usage"),
    "web purpose": (lambda: _bad(purpose=ExtendedKeyUsageOID.SERVER_AUTH), "extended key usage"),
    "any purpose": (
        lambda: _bad(purpose=ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE),
        "extended key usage",
    ),
    "not signing": (lambda: _bad(signing=False), "digitalSignature"),
    "authority": (lambda: _bad(authority=True), "authority"),
    "issuer unnamed": (lambda: _bad(named_issuer=False), "issuer's key"),
    "old hash": (lambda: _bad(digest=hashes.SHA224()), "outdated hash"),
    "odd curve": (lambda: _bad(key=ec.generate_private_key(ec.SECP256K1())), "kind"),
    "ed448": (lambda: _bad(key=ed448.Ed448PrivateKey.generate()), "kind"),
    "short rsa": (lambda: _bad(key=rsa.generate_private_key(65537, 1024)), "kind"),
}


@pytest.mark.parametrize("case", _BAD)
def test_unfit_given_identities_are_one_clear_line(tmp_path: Path, case: str) -> None:
    make, words = _BAD[case]
    certificate, key = _files(tmp_path, *make())
    with pytest.raises(InputError, match=words) as caught:
        given_identity(certificate, key)
    text = str(caught.value)
    assert text.startswith((str(certificate), str(key))) and "\n" not in text


def test_what_only_the_library_refuses_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnitalk_cli.provenance.certificates.check_signer", lambda chain: None)
    certificate, key = _files(tmp_path, *_bad(authority=True))
    with pytest.raises(InputError, match="cannot be signed with it .*certificate is invalid"):
        given_identity(certificate, key)


def test_missing_and_odd_paths(tmp_path: Path) -> None:
    certificate, key = _files(tmp_path, *_bad())
    for pair in ((tmp_path / "none.pem", key), (certificate, tmp_path), (Path("/dev/zero"), key)):
        with pytest.raises(InputError, match="is not a file"):
            given_identity(*pair)
