"""The server's own certificate."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509

from ambimesh.ca.authority import Authority, make_root
from ambimesh.ca.serving import ServingCertificate, serving_names
from ambimesh.model.identity import DEFAULT_TRUST_DOMAIN

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A time of day that tests move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now


def leaf(pair: tuple[bytes, bytes]) -> x509.Certificate:
    """Give the first certificate of a chain."""
    return x509.load_pem_x509_certificates(pair[1])[0]


def test_certificate_has_the_names_a_control_plane_is_reached_by() -> None:
    """The service's names, and the address that is listened on."""
    root = make_root(DEFAULT_TRUST_DOMAIN, now=NOW)
    serving = ServingCertificate(
        lambda: root, serving_names("istio-system", ["198.18.0.1"]), clock=Clock()
    )

    found = leaf(serving.current()).extensions.get_extension_for_class(x509.SubjectAlternativeName)

    assert "istiod.istio-system.svc" in found.value.get_values_for_type(x509.DNSName)
    assert found.value.get_values_for_type(x509.IPAddress) == [ip_address("198.18.0.1")]


def test_certificate_is_renewed_at_half_of_its_life_and_not_before() -> None:
    """Handshakes before half-life get the same certificate; the next one a new one."""
    clock = Clock()
    root = make_root(DEFAULT_TRUST_DOMAIN, now=NOW)
    serving = ServingCertificate(lambda: root, ("istiod",), clock=clock)
    first = serving.current()

    clock.now = NOW + timedelta(hours=11, minutes=59)
    assert serving.current() == first
    clock.now = NOW + timedelta(hours=12)
    assert serving.current() != first


def test_certificate_is_made_anew_when_the_root_changes() -> None:
    """A new root is in use at the next handshake."""
    roots: list[Authority] = [make_root(DEFAULT_TRUST_DOMAIN, now=NOW) for _ in range(2)]
    serving = ServingCertificate(lambda: roots[0], ("istiod",), clock=Clock())
    serving.current()

    roots.pop(0)

    leaf(serving.current()).verify_directly_issued_by(roots[0].certificate)


def test_there_is_none_without_a_root() -> None:
    """Before there is a root there is nothing to serve."""
    assert ServingCertificate(lambda: None, ("istiod",), clock=Clock()).current() == (b"", b"")
