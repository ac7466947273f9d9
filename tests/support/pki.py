"""Keys and certificate requests, as a node proxy makes them."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID


def make_request(
    key: CertificateIssuerPrivateKeyTypes | None = None,
    *,
    names: Sequence[x509.GeneralName] = (),
    common_name: str = "",
) -> str:
    """Make a certificate request in PEM, of a new P-256 key and without names by default."""
    signer = key if key is not None else ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = builder.sign(signer, algorithm)
    return request.public_bytes(serialization.Encoding.PEM).decode()
