"""A node proxy that only talks: it greets, takes requests with their descriptors, and answers."""

import asyncio
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from ambimesh.wire.generated import zds_pb2

_MOST_DESCRIPTORS = 8


@dataclass(slots=True)
class Heard:
    """One request: what it is, about which pod, and the descriptors that came with it."""

    kind: str  # "add", "del", "snapshot_sent", "keep", "retire"
    uid: str = ""
    listeners: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)


class ZdsPeer:
    """One connection to a ZDS socket. Closes every descriptor it was given."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._socket.connect(str(path))
        self._descriptors: list[int] = []
        self.heard: list[Heard] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def greet(self, *, takes_listeners: bool = True) -> None:
        """Say hello as our proxy, or as Istio's, which binds for itself."""
        hello = zds_pb2.ZdsHello(version=zds_pb2.V1)
        if takes_listeners:
            hello.takes_listeners = True
        self.send(hello.SerializeToString())

    def send(self, datagram: bytes) -> None:
        """Send any bytes."""
        self._socket.send(datagram)

    def answer(self, error: str = "") -> None:
        """Answer one request."""
        reply = zds_pb2.WorkloadResponse(ack=zds_pb2.Ack(error=error))
        self.send(reply.SerializeToString())

    async def hear(self) -> Heard | None:
        """Take one request; ``None`` at the end of the connection."""
        async with asyncio.timeout(5):
            while True:
                try:
                    data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, _MOST_DESCRIPTORS)
                except BlockingIOError:
                    await self._readable()
                except ConnectionError:
                    return None
                else:
                    break
        self._descriptors += descriptors
        return self._note(data, descriptors) if data else None

    async def take(self, count: int) -> list[Heard]:
        """Take and accept so many requests."""
        taken = []
        for _ in range(count):
            request = await self.hear()
            assert request is not None
            self.answer()
            taken.append(request)
        return taken

    async def obey(self) -> None:
        """Accept whatever comes, until the end."""
        while await self.hear() is not None:
            self.answer()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def _note(self, data: bytes, descriptors: list[int]) -> Heard:
        request = zds_pb2.WorkloadRequest.FromString(data)
        kind = str(request.WhichOneof("payload"))
        body = getattr(request, kind)
        listeners = [int(number) for number in getattr(body, "listeners", ())]
        heard = Heard(kind, getattr(body, "uid", ""), listeners, descriptors)
        self.heard.append(heard)
        return heard

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._socket, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._socket)
