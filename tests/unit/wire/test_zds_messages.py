"""ZDS messages as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.wire import zds
from ambimesh.wire.generated import zds_pb2


def test_requests_use_istios_field_numbers() -> None:
    """Del is number 2 with its uid in field 2, keep 5, retire 100: as Istio's proxy reads them."""
    assert zds.remove("u") == bytes.fromhex("1203120175")
    assert zds.snapshot_sent() == bytes.fromhex("1a00")
    assert zds.keep("u") == bytes.fromhex("2a030a0175")
    assert zds.retire() == bytes.fromhex("a20600")


def test_add_without_listeners_is_istios_message() -> None:
    """Without listeners nothing of our extension is on the wire."""
    message = zds.add(uid="u", name="n", namespace="s", service_account="a", listeners=())
    assert message == bytes.fromhex("0a0e0a017512090a016e1201731a0161")


@given(st.binary(max_size=64))
def test_any_datagram_is_read_or_refused(datagram: bytes) -> None:
    """A proxy's bytes give a value or ``ValueError``, nothing else."""
    for read in (zds.hello, zds.acknowledgement):
        try:
            assert isinstance(read(datagram), bool | str)
        except ValueError:
            continue


def test_hello_of_another_version_is_refused() -> None:
    """Version 0 is no version."""
    with pytest.raises(ValueError, match="greeting of version 0"):
        zds.hello(zds_pb2.ZdsHello(takes_listeners=True).SerializeToString())
