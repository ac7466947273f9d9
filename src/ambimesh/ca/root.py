"""The root of the mesh: kept in a Secret, made if there is none, followed when it changes.

Source: spec/control-plane.md §6.3; the layout of the Secret is Istio's, so either control plane
can take over from the other.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from ambimesh.ca.authority import Authority, key_to_pem, make_root, read_authority, to_pem
from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import Secret
from ambimesh.kube.errors import ObjectExistsError, words
from ambimesh.kube.meta import Metadata
from ambimesh.model.identity import TrustDomain

SECRET_NAME: Final = "istio-ca-secret"  # noqa: S105 # the name of an object
SECRET_TYPE: Final = "istio.io/ca-root"  # noqa: S105 # a type

_log = structlog.get_logger(__name__)


class RootKeeper:
    """Holds the authority in force.

    Several replicas may start at once without a Secret: one creates it, the others see that it
    exists and take it. What is in the Secret always wins over what is in memory.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        trust_domain: TrustDomain,
        *,
        clock: Callable[[], datetime],
        retry_seconds: float = 1.0,
    ) -> None:
        self.changed = asyncio.Event()  # set at every change; whoever waits for it clears it
        self._cluster = cluster
        self._namespace = namespace
        self._trust_domain = trust_domain
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._authority: Authority | None = None

    def current(self) -> Authority | None:
        """Give the authority, or ``None`` while there is none yet."""
        return self._authority

    async def run(self, *, started: Callable[[], None]) -> None:
        """Follow the Secret until cancelled; call ``started`` once there is an authority.

        A Secret that cannot be read is reported and leaves the authority before it in force.
        """
        secrets = self._cluster.reflector(
            Secret, namespace=self._namespace, fields=f"metadata.name={SECRET_NAME}"
        )
        announced = False
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(secrets.run(started=lambda: None), name="follow the root")
            async for _ in secrets.changes():
                secret = secrets.get(self._namespace, SECRET_NAME)
                if secret is None:
                    await self._create()
                else:
                    self._take(secret)
                if self._authority is not None and not announced:
                    announced = True
                    started()

    def _take(self, secret: Secret) -> None:
        try:
            authority = read_secret(secret)
        except ValueError as error:
            _log.error("root not usable", object=secret.label, error=str(error))
            return
        if self._authority is None or authority.certificate != self._authority.certificate:
            end = authority.certificate.not_valid_after_utc
            _log.info("root in force", object=secret.label, expires=end.isoformat())
            self._authority = authority
            self.changed.set()

    async def _create(self) -> None:
        """Write the Secret, from memory if it was there before; its event then brings it back."""
        authority = self._authority or make_root(self._trust_domain, now=self._clock())
        while True:
            try:
                await self._cluster.create(write_secret(authority, self._namespace))
            except ObjectExistsError:
                return
            except MeshError as error:
                _log.warning("root not stored", error=words(error))
                await asyncio.sleep(self._retry_seconds)
            else:
                return


def read_secret(secret: Secret) -> Authority:
    """Read an authority from its Secret. Errors: ``ValueError`` names what is wrong."""
    data = secret.data
    missing = [name for name in ("ca-cert.pem", "ca-key.pem") if not data.get(name)]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing")
    return read_authority(
        certificate=data["ca-cert.pem"],
        key=data["ca-key.pem"],
        chain=data.get("cert-chain.pem", b""),
        roots=data.get("root-cert.pem", b""),
    )


def write_secret(authority: Authority, namespace: str) -> Secret:
    """Write an authority as Istio lays it out."""
    return Secret(
        metadata=Metadata(name=SECRET_NAME, namespace=namespace),
        type=SECRET_TYPE,
        data={
            "ca-cert.pem": to_pem(authority.certificate).encode(),
            "ca-key.pem": key_to_pem(authority.key).encode(),
            "cert-chain.pem": b"",
            "key.pem": b"",
            "root-cert.pem": authority.roots.encode(),
        },
    )
