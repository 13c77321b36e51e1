"""Certificates that Content Credentials are signed with: making a chain, and checking a given one.

What a signer's certificate must say: C2PA specification 2.2, section 14.5.1 (X.509 profile).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from omnitalk_cli.provenance.c2pa_engine import SIGNING_PURPOSES

_DAYS = 3650  # without a time stamp a signature is good as long as its certificate
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_RSA_BITS = 2048
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_PURPOSE_WORDS = "emailProtection, documentSigning or c2paClaimSigning"


def new_chain() -> tuple[str, str, str]:
    """A fresh P-256 key, its certificate and the root that signed it, each as PEM.

    The names say nothing of the user or the machine. The root's own key is forgotten here, so
    that nothing else can ever be signed in its name.
    """
    root_key = ec.generate_private_key(ec.SECP256R1())
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    root_name, leaf_name = _name("omnitalk local root"), _name("omnitalk local signer")
    root_id = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    root = (
        _started(root_name, root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(root_id, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _started(leaf_name, root_name, leaf_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(leaf_key.public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id), critical=False
        )
        .sign(root_key, hashes.SHA256())
    )
    return key_text(leaf_key), certificate_text(leaf), certificate_text(root)


def key_text(key: PrivateKeyTypes) -> str:
    """The key as unencrypted PKCS #8 PEM, the only form that the C2PA library reads."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def certificate_text(certificate: x509.Certificate) -> str:
    """The certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM).decode()


def algorithm_of(key: PrivateKeyTypes) -> str:
    """C2PA's name of the algorithm that ``key`` signs with. Raises ValueError if it takes none."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _RSA_BITS:
        return "ps256"
    raise ValueError(
        "has a key of a kind that Content Credentials cannot be signed with; use P-256, P-384, "
        f"P-521, Ed25519, or RSA of at least {_RSA_BITS} bits"
    )


def belongs(key: PrivateKeyTypes, certificate: x509.Certificate) -> bool:
    """Whether ``certificate`` is about the public half of ``key``."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        told = certificate.public_key().public_bytes(*form)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return key.public_key().public_bytes(*form) == told


def check_signer(chain: Sequence[x509.Certificate], now: datetime | None = None) -> None:
    """``chain``, signer first, must be one that C2PA takes. Raises ValueError saying what is wrong.

    The texts follow a file name and a colon.
    """
    signer = chain[0]
    now = now or datetime.now(UTC)
    if now < signer.not_valid_before_utc:
        raise ValueError(f"is not valid before {signer.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
    if now > signer.not_valid_after_utc:
        raise ValueError(
            f"has expired on {signer.not_valid_after_utc:%Y-%m-%d}; have it renewed by its issuer"
        )
    _check_purposes(signer)
    for inner, outer in zip(chain, chain[1:], strict=False):
        try:
            inner.verify_directly_issued_by(outer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise ValueError(
                "its certificates do not follow from each other; put the signer's first, "
                "then each one's issuer"
            ) from error


def _check_purposes(signer: x509.Certificate) -> None:
    try:
        extensions = signer.extensions
    except (ValueError, x509.DuplicateExtension) as error:
        raise ValueError(f"its extensions cannot be read ({error})") from error
    by_oid = {extension.oid: extension.value for extension in extensions}
    basic = by_oid.get(x509.BasicConstraints.oid)
    usage = by_oid.get(x509.KeyUsage.oid)
    purposes = by_oid.get(x509.ExtendedKeyUsage.oid)
    if isinstance(basic, x509.BasicConstraints) and basic.ca:
        raise ValueError("belongs to an authority (CA), not to a signer; use an end certificate")
    if not isinstance(usage, x509.KeyUsage) or not usage.digital_signature:
        raise ValueError("is not for digital signatures (key usage digitalSignature is missing)")
    named = purposes if isinstance(purposes, x509.ExtendedKeyUsage) else ()
    if not {each.dotted_string for each in named} & set(SIGNING_PURPOSES):
        raise ValueError(
            f"lacks the extended key usage of a signer of Content Credentials: {_PURPOSE_WORDS}"
        )
    if x509.AuthorityKeyIdentifier.oid not in by_oid and signer.issuer != signer.subject:
        raise ValueError("does not name its issuer's key (authority key identifier is missing)")
    if not isinstance(signer.signature_hash_algorithm, (*_HASHES, type(None))):
        raise ValueError("was issued with an outdated hash; SHA-256 or longer is needed")


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "omnitalk"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _started(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of readers may be late
        .not_valid_after(now + timedelta(days=_DAYS))
    )


def _usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})
