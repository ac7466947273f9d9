"""What the node agent needs of a node on one machine: its init stands behind each seam."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ambimesh.local import addresses
from ambimesh.local.init.client import InitClient, InitRefusedError
from ambimesh.local.init.protocol import Failure, Spawn
from ambimesh.node.generations import RunningProxy

PROXY_OWNER = "node-proxy"
_LISTENERS = "listeners/"


class InitSandboxes:
    """Namespaces and listeners of pods, kept by the node's init (``capture.PodSandboxes``)."""

    def __init__(self, init: InitClient) -> None:
        self._init = init

    async def open(self, uid: str) -> int | None:
        """Give a descriptor of a pod's network namespace; ``None``: there is none."""
        try:
            return await self._init.open_sandbox(uid)
        except InitRefusedError as error:
            if error.failure is Failure.NOT_FOUND:
                return None
            raise OSError(error.errno, str(error)) from error

    async def keep(self, uid: str, descriptors: Mapping[str, int]) -> None:
        """Keep copies of a pod's listeners; they go with its sandbox."""
        try:
            await self._init.keep(uid, {_LISTENERS + name: fd for name, fd in descriptors.items()})
        except InitRefusedError as error:
            raise OSError(error.errno, str(error)) from error

    async def fetch(self, uid: str) -> Mapping[str, int]:
        """Give copies of a pod's listeners."""
        found: dict[str, int] = {}
        for name, descriptor in (await self._init.fetch(uid)).items():
            if name.startswith(_LISTENERS):
                found[name.removeprefix(_LISTENERS)] = descriptor
            else:
                os.close(descriptor)
        return found

    async def drop(self, uid: str) -> None:
        """Close the kept listeners."""
        await self._init.drop(uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """What a node proxy is started with. Source: node-proxy specification §14."""

    node: str
    number: int
    zds_socket: Path
    token_file: Path
    root_file: Path
    pod: str
    namespace: str
    service_account: str
    log_file: Path

    def environment(self) -> dict[str, str]:
        """Give the variables, named as those of Istio's ztunnel."""
        control = f"https://{addresses.control().v4}:{addresses.XDS_PORT}"
        chosen = {
            name: os.environ[name] for name in ("RUST_LOG", "LOG_FORMAT") if name in os.environ
        }
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PROXY_MODE": "shared",
            "INPOD_UDS": str(self.zds_socket),
            "NODE_NAME": self.node,
            "INSTANCE_IP": str(addresses.node(self.number).v4),
            "POD_NAME": self.pod,
            "POD_NAMESPACE": self.namespace,
            "SERVICE_ACCOUNT": self.service_account,
            "XDS_ADDRESS": control,
            "CA_ADDRESS": control,
            "XDS_ROOT_CA": str(self.root_file),
            "CA_ROOT_CA": str(self.root_file),
            "AUTH_TOKEN": str(self.token_file),
            "ISTIO_META_CLUSTER_ID": "Kubernetes",
            "ISTIO_META_DNS_CAPTURE": "false",
            **chosen,
        }


class InitProxies:
    """Node proxies as children of the node's init (``generations.ProxyProcesses``)."""

    def __init__(self, init: InitClient, settings: ProxySettings) -> None:
        self._init = init
        self._settings = settings

    async def running(self) -> tuple[RunningProxy, ...]:
        """List the proxies that run, oldest first."""
        found = [
            RunningProxy(generation=_generation(process.key), pid=process.pid)
            for process in await self._init.processes(PROXY_OWNER)
            if process.exit is None
        ]
        return tuple(sorted(found, key=lambda proxy: proxy.generation))

    async def start(self, generation: int) -> RunningProxy:
        """Start a proxy. Errors: ``OSError``."""
        spawn = Spawn(
            key=f"{PROXY_OWNER}/{generation}",
            owner=PROXY_OWNER,
            argv=(sys.executable, "-m", "ambimesh.cli.node_proxy"),
            env=self._settings.environment(),
            log=str(self._settings.log_file),
        )
        try:
            pid = await self._init.spawn(spawn)
        except InitRefusedError as error:
            raise OSError(error.errno, str(error)) from error
        return RunningProxy(generation=generation, pid=pid)

    async def ended(self) -> AsyncIterator[int]:
        """Yield each generation that has ended."""
        async for exited in self._init.exits(PROXY_OWNER):
            await self._init.acknowledge(exited.key)
            yield _generation(exited.key)


def _generation(key: str) -> int:
    return int(key.rpartition("/")[2])
