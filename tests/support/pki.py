"""Keys and certificate requests, as a node proxy makes them."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes


def make_request(key: CertificateIssuerPrivateKeyTypes | None = None) -> str:
    """Make a certificate request in PEM with an empty subject, of a new P-256 key by default."""
    signer = key if key is not None else ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(signer, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()
