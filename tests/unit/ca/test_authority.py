"""Certificates as OpenSSL, an independent verifier and RFC 5280 see them."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.verification import PolicyBuilder, Store

from ambimesh.ca.authority import (
    Authority,
    Lifetimes,
    SignerExpiredError,
    SigningRefusedError,
    chosen_lifetime,
    make_root,
    read_authority,
    read_request,
    self_signed,
    to_pem,
)
from ambimesh.ca.root import read_secret, write_secret
from ambimesh.model.identity import DEFAULT_TRUST_DOMAIN, Identity
from support.pki import make_request

NOW = datetime.now(UTC).replace(microsecond=0)
WEB = Identity(namespace="shop", service_account="web")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def root() -> Authority:
    """A new self-signed authority."""
    return make_root(DEFAULT_TRUST_DOMAIN, now=NOW)


def leaf_of(chain: tuple[str, ...]) -> x509.Certificate:
    """Give the first certificate of a chain."""
    return x509.load_pem_x509_certificate(chain[0].encode())


def test_openssl_verifies_a_leaf_against_the_root(root: Authority, tmp_path: Path) -> None:
    """OpenSSL takes the chain for client and for server, in strict mode."""
    chain = root.sign(read_request(make_request()), WEB, lifetime=DAY, now=NOW)
    (tmp_path / "leaf.pem").write_text(chain[0])
    (tmp_path / "root.pem").write_text(chain[-1])

    for purpose in ("sslclient", "sslserver"):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "root.pem"]
        done = subprocess.run(
            [*command, "leaf.pem"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.stdout == "leaf.pem: OK\n", done.stderr


def test_webpki_verifier_takes_the_chain_and_gives_the_identity(root: Authority) -> None:
    """A second, independent verifier agrees, and finds exactly one name: the SPIFFE ID."""
    chain = root.sign(read_request(make_request()), WEB, lifetime=DAY, now=NOW)
    verifier = PolicyBuilder().store(Store([root.certificate])).time(NOW).build_client_verifier()

    verified = verifier.verify(leaf_of(chain), [])

    assert verified.subjects == [x509.UniformResourceIdentifier(str(WEB))]


def test_leaf_has_the_fields_that_peers_rely_on(root: Authority) -> None:
    """Empty subject, critical names, usages, serial of at most 128 bits, backdated start."""
    leaf = leaf_of(root.sign(read_request(make_request()), WEB, lifetime=DAY, now=NOW))

    assert not leaf.subject.rdns
    assert leaf.serial_number.bit_length() <= 128
    assert leaf.not_valid_before_utc == root.certificate.not_valid_before_utc
    assert leaf.not_valid_after_utc == NOW + DAY
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment
    assert not usage.key_cert_sign
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca


def test_nothing_in_a_request_counts_but_its_key(root: Authority) -> None:
    """Names that a caller writes into its request are not signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    stranger = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/kube-system/sa/admin")
    pem = make_request(key, names=[stranger], common_name="admin")

    leaf = leaf_of(root.sign(read_request(pem), WEB, lifetime=DAY, now=NOW))

    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier(str(WEB))]
    assert not leaf.subject.rdns
    assert leaf.public_key() == key.public_key()


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP256K1()),
    ],
    ids=["ed25519", "rsa-1024", "secp256k1"],
)
def test_weak_or_foreign_keys_are_refused(key: CertificateIssuerPrivateKeyTypes) -> None:
    """Only keys that peers of the mesh take are signed."""
    with pytest.raises(SigningRefusedError):
        read_request(make_request(key))


def test_request_with_a_broken_signature_is_refused() -> None:
    """The caller must have the key that it asks a certificate for."""
    first, second = make_request(), make_request()
    lines = first.splitlines()
    lines[-3] = second.splitlines()[-3]

    for pem in ("\n".join(lines), "", "-----BEGIN CERTIFICATE REQUEST-----\n", first[:200]):
        with pytest.raises(SigningRefusedError):
            read_request(pem)


def test_leaf_never_outlives_its_signer() -> None:
    """The end is clamped to that of the authority; after it nothing is signed."""
    root = make_root(DEFAULT_TRUST_DOMAIN, now=NOW)
    end = root.certificate.not_valid_after_utc
    request = read_request(make_request())

    leaf = leaf_of(root.sign(request, WEB, lifetime=DAY, now=end - timedelta(hours=1)))
    assert leaf.not_valid_after_utc == end
    with pytest.raises(SignerExpiredError):
        root.sign(request, WEB, lifetime=DAY, now=end)


def test_lifetime_is_the_default_or_what_was_asked_up_to_the_longest() -> None:
    """Nothing or less asks for the default; too much is an error, not a shorter life."""
    lifetimes = Lifetimes()

    assert chosen_lifetime(0, lifetimes) == timedelta(hours=24)
    assert chosen_lifetime(-5, lifetimes) == timedelta(hours=24)
    assert chosen_lifetime(3600, lifetimes) == timedelta(hours=1)
    with pytest.raises(SigningRefusedError):
        chosen_lifetime(91 * 86400, lifetimes)


def test_root_renewed_with_the_same_key_verifies_older_leaves(root: Authority) -> None:
    """What was signed before a renewal stays good: the seam for root rotation."""
    leaf = leaf_of(root.sign(read_request(make_request()), WEB, lifetime=DAY, now=NOW))
    renewed = self_signed(root.key, DEFAULT_TRUST_DOMAIN, now=NOW)
    store = Store([renewed.certificate])

    verified = PolicyBuilder().store(store).time(NOW).build_client_verifier().verify(leaf, [])

    assert verified.subjects


def test_authority_survives_its_secret(root: Authority) -> None:
    """What is written to the Secret reads back as the same authority, in Istio's layout."""
    secret = write_secret(root, "istio-system")

    back = read_secret(secret)

    assert secret.type == "istio.io/ca-root"
    assert secret.data.keys() == {
        "ca-cert.pem",
        "ca-key.pem",
        "cert-chain.pem",
        "key.pem",
        "root-cert.pem",
    }
    assert back.certificate == root.certificate
    assert back.roots == root.roots


def test_authority_that_is_none_is_refused(root: Authority) -> None:
    """A key of another certificate, or a leaf in the place of an authority, is an error."""
    other = write_secret(make_root(DEFAULT_TRUST_DOMAIN, now=NOW), "x").data
    own = write_secret(root, "x").data
    leaf = root.sign(read_request(make_request()), WEB, lifetime=DAY, now=NOW)[0].encode()

    with pytest.raises(ValueError, match="does not belong"):
        read_authority(
            certificate=own["ca-cert.pem"], key=other["ca-key.pem"], chain=b"", roots=b""
        )
    with pytest.raises(ValueError, match="does not belong"):
        read_authority(certificate=leaf, key=own["ca-key.pem"], chain=b"", roots=b"")


def test_chain_of_an_intermediate_is_leaf_intermediate_bundle(root: Authority) -> None:
    """With a plugged-in intermediate the chain leads to the root, which comes last."""
    intermediate_key = ec.generate_private_key(ec.SECP256R1())
    below = self_signed(intermediate_key, DEFAULT_TRUST_DOMAIN, now=NOW)
    authority = Authority(
        certificate=below.certificate,
        key=intermediate_key,
        intermediates=(below.certificate,),
        roots=root.roots,
    )

    chain = authority.sign(read_request(make_request()), WEB, lifetime=DAY, now=NOW)

    assert chain[1] == to_pem(below.certificate)
    assert chain[-1] == root.roots
    assert len(chain) == 3
