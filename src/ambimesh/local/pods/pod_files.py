"""The files of a pod: resolver, hosts, the service account's token."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import ConfigMap, Pod
from ambimesh.local.pods.plan import PodPlace, hosts, resolv_conf
from ambimesh.node.credentials import half_life
from ambimesh.node.private_file import write_private

log = structlog.get_logger("pods")

ROOT_CONFIG_MAP = "kube-root-ca.crt"
TOKEN_SECONDS = 3600
RETRY_SECONDS = 1.0


class PodFiles:
    """Writes what a pod's programs see, and keeps the token fresh."""

    def __init__(self, cluster: Cluster, pod: Pod, place: PodPlace) -> None:
        self._cluster = cluster
        self._pod = pod
        self._place = place

    def write(self) -> None:
        """Write what does not change. Errors: ``OSError``."""
        namespace = self._pod.metadata.namespace
        self._place.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._readable("resolv.conf", resolv_conf(namespace, self._place))
        self._readable("hosts", hosts(self._pod, self._place))
        write_private(self._place.secrets / "namespace", namespace.encode())

    async def keep_token(self, *, started: Callable[[], None]) -> None:
        """Write the token, call ``started``, and renew it at half of its life until cancelled."""
        fresh = False
        while True:
            try:
                pause = await self._renew()
            except (MeshError, OSError) as error:
                log.warning("token not renewed", pod=self._pod.label, reason=str(error))
                pause = RETRY_SECONDS
            if not fresh:
                # A program is started without a token rather than not at all: few need one.
                started()
                fresh = True
            await asyncio.sleep(pause)

    def remove(self) -> None:
        """Take everything away but the logs, which a person may still want to read."""
        shutil.rmtree(self._place.secrets, ignore_errors=True)
        for name in ("resolv.conf", "hosts"):
            (self._place.folder / name).unlink(missing_ok=True)

    def _readable(self, name: str, text: str) -> None:
        path = self._place.folder / name
        write_private(path, text.encode())
        path.chmod(0o644)  # a program that is not root reads it too

    async def _renew(self) -> float:
        meta = self._pod.metadata
        root = await self._cluster.find(ConfigMap, ROOT_CONFIG_MAP, meta.namespace)
        if root is not None:
            write_private(self._place.secrets / "ca.crt", root.data.get("ca.crt", "").encode())
        token = await self._cluster.create_token(
            meta.namespace,
            self._pod.spec.service_account_name or "default",
            audiences=(),
            seconds=TOKEN_SECONDS,
            pod=(meta.name, meta.uid),
        )
        write_private(self._place.secrets / "token", token.token.encode())
        return half_life(token.expires, datetime.now(UTC))
