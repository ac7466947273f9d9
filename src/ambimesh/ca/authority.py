"""The signing certificate, and what it signs. Source: spec/control-plane.md §6.1 and §6.3."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ambimesh.model.identity import Identity, TrustDomain

ROOT_LIFETIME: Final = timedelta(days=3650)
BACKDATED: Final = timedelta(minutes=2)  # for the clocks of peers
_SERIAL_SHIFT: Final = 32  # leaves 127 random bits of the library's 159: peers know 128-bit serials

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class SigningRefusedError(Exception):
    """The request cannot be signed; the text says why, and it is the caller's fault."""


class SignerExpiredError(Exception):
    """The signing certificate has expired: nothing can be signed until it is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long leaf certificates live."""

    default: timedelta = timedelta(hours=24)
    longest: timedelta = timedelta(days=90)


class Signer(Protocol):
    """What makes certificates for workloads. The self-signed root is one; others can come."""

    def sign(
        self,
        request: x509.CertificateSigningRequest,
        identity: Identity,
        *,
        lifetime: timedelta,
        now: datetime,
    ) -> tuple[str, ...]:
        """Sign for ``identity``; give PEM: leaf, intermediates, last the trust bundle."""

    def bundle(self) -> str:
        """Give the roots that peers must trust, as PEM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate authority: its certificate, its key, and what leads to the roots.

    Invariant: ``certificate`` belongs to ``key``.
    """

    certificate: x509.Certificate
    key: SigningKey = field(repr=False)
    intermediates: tuple[x509.Certificate, ...] = ()  # between leaf and roots, as sent
    roots: str  # PEM, one or more

    def bundle(self) -> str:
        """Give the roots that peers must trust, as PEM."""
        return self.roots

    def sign(
        self,
        request: x509.CertificateSigningRequest,
        identity: Identity,
        *,
        lifetime: timedelta,
        now: datetime,
    ) -> tuple[str, ...]:
        """Sign the key of ``request`` for ``identity``; all else in the request is ignored.

        Returns: PEM: leaf, intermediates, last the trust bundle.
        Errors: ``SigningRefusedError``; ``SignerExpiredError``.
        """
        names = [x509.UniformResourceIdentifier(str(identity))]
        leaf = self.issue(public_key(request), names, lifetime=lifetime, now=now)
        return (*(to_pem(item) for item in (leaf, *self.intermediates)), self.roots)

    def issue(
        self,
        key: PublicKey,
        names: Sequence[x509.GeneralName],
        *,
        lifetime: timedelta,
        now: datetime,
    ) -> x509.Certificate:
        """Make a leaf certificate with ``names`` and nothing else to go by.

        Its subject is empty, so the names are critical (RFC 5280 §4.2.1.6). It never outlives
        the signing certificate.
        """
        end = self.certificate.not_valid_after_utc
        if end <= now:
            raise SignerExpiredError(f"the signing certificate expired at {end:%Y-%m-%d %H:%M} UTC")
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number() >> _SERIAL_SHIFT)
            .not_valid_before(max(now - BACKDATED, self.certificate.not_valid_before_utc))
            .not_valid_after(min(now + lifetime, end))
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(leaf=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_authority_key(self.certificate), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())


def make_root(trust_domain: TrustDomain, *, now: datetime) -> Authority:
    """Make a self-signed authority with a new P-256 key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return self_signed(key, trust_domain, now=now)


def self_signed(key: SigningKey, trust_domain: TrustDomain, *, now: datetime) -> Authority:
    """Make a self-signed authority from a key; the same key again renews a root."""
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain)])
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number() >> _SERIAL_SHIFT)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(leaf=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate=certificate, key=key, roots=to_pem(certificate))


def read_request(pem: str) -> x509.CertificateSigningRequest:
    """Read a request and check that its sender has the key. Errors: ``SigningRefusedError``."""
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        valid = request.is_signature_valid
    except (ValueError, InvalidSignature, TypeError) as error:
        raise SigningRefusedError(f"the request cannot be read: {error}") from error
    if not valid:
        raise SigningRefusedError("the request is not signed by its own key")
    public_key(request)
    return request


def public_key(request: x509.CertificateSigningRequest) -> PublicKey:
    """Give the key of a request, if it is one that TLS 1.3 peers here take."""
    key = request.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name in {"secp256r1", "secp384r1"}:
            return key
        raise SigningRefusedError(f"keys of curve {key.curve.name} are not signed")
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size >= 2048:
            return key
        raise SigningRefusedError(f"RSA keys of {key.key_size} bits are not signed")
    kind = "Ed25519" if isinstance(key, Ed25519PublicKey) else type(key).__name__
    raise SigningRefusedError(f"{kind} keys are not signed")


def chosen_lifetime(seconds: int, lifetimes: Lifetimes) -> timedelta:
    """Choose the life of a leaf from what was asked for; none or less asks for the default.

    Errors: ``SigningRefusedError`` for more than the longest.
    """
    if seconds <= 0:
        return lifetimes.default
    if seconds > lifetimes.longest.total_seconds():
        longest = int(lifetimes.longest.total_seconds())
        raise SigningRefusedError(f"a life of {seconds} s is longer than {longest} s")
    return timedelta(seconds=seconds)


def to_pem(certificate: x509.Certificate) -> str:
    """Write a certificate."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_to_pem(key: SigningKey) -> str:
    """Write a key, unencrypted. It is a secret: keep it in Secrets and files of mode 0600."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def read_authority(*, certificate: bytes, key: bytes, chain: bytes, roots: bytes) -> Authority:
    """Read an authority from PEM and check that it is one.

    Args:
        certificate: The signing certificate.
        key: Its key.
        chain: What leads from it to the roots; may be empty.
        roots: The trust bundle; empty for a self-signed authority.

    Errors: ``ValueError`` names what is wrong.
    """
    signing = x509.load_pem_x509_certificate(certificate)
    private = serialization.load_pem_private_key(key, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("the signing key is neither elliptic curve nor RSA")  # noqa: TRY004 # a value of a file
    if private.public_key() != signing.public_key():
        raise ValueError("the signing key does not belong to the signing certificate")
    constraints = signing.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not constraints.ca:
        raise ValueError("the signing certificate is not one of an authority")
    is_root = signing.issuer == signing.subject
    intermediates = () if is_root else (signing, *_certificates(chain))
    bundle = roots.decode().strip() or (to_pem(signing).strip() if is_root else "")
    if not _certificates(bundle.encode()):
        raise ValueError("there is no root certificate")
    return Authority(
        certificate=signing,
        key=private,
        intermediates=tuple(dict.fromkeys(intermediates)),
        roots=bundle + "\n",
    )


def _certificates(pem: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem) if pem.strip() else []


def _key_usage(*, leaf: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=leaf,
        key_encipherment=leaf,
        key_cert_sign=not leaf,
        crl_sign=not leaf,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        public = issuer.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
