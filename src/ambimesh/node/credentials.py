"""What a node proxy authenticates with: a bound token and the mesh's root certificate, as files.

The proxy reads both files again at each use, so replacing them is all a renewal takes.

Source: control-plane specification §5.3, §6.2; design D9.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog

from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import ConfigMap
from ambimesh.node.private_file import write_private

log = structlog.get_logger("credentials")

TOKEN_AUDIENCE = "istio-ca"  # noqa: S105  # the audience's name, no secret
TOKEN_SECONDS = 3600
RETRY_SECONDS = 1.0
ROOT_CONFIG_MAP = "istio-ca-root-cert"
ROOT_KEY = "root-cert.pem"


class ProxyCredentials:
    """Keeps a node proxy's token and root certificate fresh in a directory of its own."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        directory: Path,
        namespace: str,
        service_account: str,
        pod: tuple[str, str],
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._service_account = service_account
        self._pod = pod  # name and uid of the pod that stands for the proxy
        self.token_file = directory / "istio-token"
        self.root_file = directory / "root-cert.pem"

    async def run(self, *, started: Callable[[], None]) -> None:
        """Write both files, call ``started``, and renew them until cancelled.

        The API server may be away: what is there stays in use, and is renewed when it is back.
        """
        self.token_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = False
        while True:
            try:
                pause = await self._renew()
                if not fresh:
                    started()
                    fresh = True
            except (MeshError, LookupError, OSError) as error:
                log.warning("credentials not renewed", reason=str(error))
                pause = RETRY_SECONDS
            await asyncio.sleep(pause)

    async def _renew(self) -> float:
        """Write root and token; return the seconds until it is time again."""
        roots = await self._cluster.get(ConfigMap, ROOT_CONFIG_MAP, self._namespace)
        if not (root := roots.data.get(ROOT_KEY)):
            raise LookupError(f"config map {self._namespace}/{ROOT_CONFIG_MAP} has no {ROOT_KEY}")
        write_private(self.root_file, root.encode())
        token = await self._cluster.create_token(
            self._namespace,
            self._service_account,
            audiences=[TOKEN_AUDIENCE],
            seconds=TOKEN_SECONDS,
            pod=self._pod,
        )
        write_private(self.token_file, token.token.encode())
        return half_life(token.expires, datetime.now(UTC))


def half_life(expires: str, now: datetime) -> float:
    """Seconds until half of what is left has passed, at least one and at most half an hour."""
    left = (datetime.fromisoformat(expires) - now).total_seconds()
    return min(max(left / 2, RETRY_SECONDS), TOKEN_SECONDS / 2)
