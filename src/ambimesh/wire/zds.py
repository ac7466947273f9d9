"""Messages of the node agent's protocol to node proxies, as bytes.

Source: node-proxy specification §3.1; ``proto/zds.proto`` for our extension.
"""

from collections.abc import Iterable

from google.protobuf.message import DecodeError

from ambimesh.wire.generated import zds_pb2


def add(
    *, uid: str, name: str, namespace: str, service_account: str, listeners: Iterable[int]
) -> bytes:
    """Encode the capture of a pod; ``listeners`` are numbers of ``zds.Listener``."""
    info = zds_pb2.WorkloadInfo(name=name, namespace=namespace, service_account=service_account)
    request = zds_pb2.AddWorkload(uid=uid, workload_info=info)
    names = (zds_pb2.Listener.Name(number) for number in listeners)
    request.listeners.extend(getattr(zds_pb2, name) for name in names)
    return zds_pb2.WorkloadRequest(add=request).SerializeToString()


def remove(uid: str) -> bytes:
    """Encode that a pod is no longer captured, or gone."""
    request = zds_pb2.WorkloadRequest()
    getattr(request, "del").uid = uid  # the field is named after a word of the language
    return request.SerializeToString()


def keep(uid: str) -> bytes:
    """Encode that a pod is believed captured though its namespace is not at hand."""
    return zds_pb2.WorkloadRequest(keep=zds_pb2.KeepWorkload(uid=uid)).SerializeToString()


def snapshot_sent() -> bytes:
    """Encode that every captured pod has been named."""
    return zds_pb2.WorkloadRequest(snapshot_sent=zds_pb2.SnapshotSent()).SerializeToString()


def retire() -> bytes:
    """Encode the order to a replaced generation to drain and end."""
    return zds_pb2.WorkloadRequest(retire=zds_pb2.Retire()).SerializeToString()


def hello(datagram: bytes) -> bool:
    """Decode a proxy's greeting; true if it takes listening sockets from the agent.

    Raises:
        ValueError: no greeting, or of a version that is not ours.
    """
    message = zds_pb2.ZdsHello()
    _parse(message, datagram)
    if message.version != zds_pb2.V1:
        raise ValueError(f"greeting of version {message.version}, not 1")
    return bool(message.takes_listeners)


def acknowledgement(datagram: bytes) -> str:
    """Decode a proxy's answer: its error text, empty for success.

    Raises:
        ValueError: the datagram is no answer.
    """
    message = zds_pb2.WorkloadResponse()
    _parse(message, datagram)
    if message.WhichOneof("payload") != "ack":
        raise ValueError("answer without acknowledgement")
    return str(message.ack.error)


def _parse(message: zds_pb2.ZdsHello | zds_pb2.WorkloadResponse, datagram: bytes) -> None:
    if not datagram:
        raise ValueError("the connection has ended")
    try:
        message.ParseFromString(datagram)
    except DecodeError as error:
        raise ValueError(f"undecodable message of {len(datagram)} bytes") from error
