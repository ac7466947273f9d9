"""From a pod's manifest to processes: what is started, with which environment; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ambimesh.kube.core import Container, Pod
from ambimesh.local import addresses
from ambimesh.local.init.protocol import Bind, Credentials, Spawn

PODS_OWNER = "pods"
CLUSTER_DOMAIN = "cluster.local"
SECRETS_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HOSTNAME_LIMIT = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPlace:
    """Where a pod's files are and what its addresses are."""

    folder: Path
    own: addresses.Addresses
    nameserver: addresses.Addresses
    rootless_uid: int | None  # the user that owns a mesh without root; None: root owns it

    @property
    def secrets(self) -> Path:
        """The service account's token and the API's root certificate."""
        return self.folder / "serviceaccount"


def process_key(uid: str, container: str, start: int) -> str:
    """Name the ``start``-th process of a container (counted from 0)."""
    return f"pod/{uid}/{container}/{start}"


def log_file(folder: Path, container: str, *, previous: bool = False) -> Path:
    """Name the file that a container's output goes to; ``previous``: of the run before."""
    return folder / f"{container}{'.previous' if previous else ''}.log"


def container_spawn(pod: Pod, container: Container, place: PodPlace, *, start: int) -> Spawn:
    """Describe the process of a container.

    The manifest's image is not used: the program is one of this machine.
    """
    return Spawn(
        key=process_key(pod.metadata.uid, container.name, start),
        owner=PODS_OWNER,
        argv=(*container.command, *container.args),
        env=environment(pod, container),
        cwd=container.working_dir or "/",
        log=str(log_file(place.folder, container.name)),
        sandbox=pod.metadata.uid,
        hostname=hostname(pod),
        binds=binds(place),
        credentials=credentials(pod, container, place),
    )


def environment(pod: Pod, container: Container) -> dict[str, str]:
    """Give a container's variables: those of a cluster, then its own."""
    found = {
        "PATH": DEFAULT_PATH,
        "HOME": "/",
        "HOSTNAME": hostname(pod),
        "KUBERNETES_SERVICE_HOST": str(addresses.KUBERNETES_SERVICE),
        "KUBERNETES_SERVICE_PORT": str(addresses.API_PORT),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(addresses.API_PORT),
    }
    return found | {variable.name: variable.value for variable in container.env}


def hostname(pod: Pod) -> str:
    """Give the pod's host name: its own wish, or its name."""
    return (pod.spec.hostname or pod.metadata.name)[:_HOSTNAME_LIMIT]


def binds(place: PodPlace) -> tuple[Bind, ...]:
    """Give what every program of a pod sees in place of the host's files."""
    return (
        Bind(source=str(place.folder / "resolv.conf"), target="/etc/resolv.conf", read_only=True),
        Bind(source=str(place.folder / "hosts"), target="/etc/hosts", read_only=True),
        Bind(source=str(place.secrets), target=SECRETS_PATH, read_only=True),
    )


def credentials(pod: Pod, container: Container, place: PodPlace) -> Credentials | None:
    """Say who a program runs as.

    Without root every program runs as the user who started the mesh, in a user namespace of its
    own: programs that drop root, or refuse it, are content. With root it runs as root unless
    the manifest names a user.
    """
    if place.rootless_uid is not None:
        return Credentials(uid=place.rootless_uid, gid=place.rootless_uid, nested=True)
    own, shared = container.security_context, pod.spec.security_context
    uid = own.run_as_user if own.run_as_user is not None else shared.run_as_user
    gid = own.run_as_group if own.run_as_group is not None else shared.run_as_group
    if uid is None and gid is None:
        return None
    return Credentials(uid=uid or 0, gid=gid if gid is not None else uid or 0)


def resolv_conf(namespace: str, place: PodPlace) -> str:
    """Give the resolver's settings: the node's own server, names of the cluster first."""
    search = f"{namespace}.svc.{CLUSTER_DOMAIN} svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}"
    return f"nameserver {place.nameserver.v4}\nsearch {search}\noptions ndots:5\n"


def hosts(pod: Pod, place: PodPlace) -> str:
    """Give /etc/hosts: loopback, and the pod itself under its own addresses."""
    own = "".join(f"{address}\t{hostname(pod)}\n" for address in place.own.both)
    return f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{own}"


def unusable(pod: Pod) -> str | None:
    """Say why a pod cannot run on this machine; ``None``: it can."""
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        if not container.command and not container.args:
            return (
                f"container {container.name} has no command: on one machine a container runs a "
                "program of the host, so name it in spec.containers[].command"
            )
    if pod.spec.host_network:
        return "hostNetwork is not possible: no pod may touch the host's network"
    return None


def warnings(pod: Pod) -> tuple[str, ...]:
    """Say what of a manifest is not honoured here."""
    images: Mapping[str, str] = {c.name: c.image for c in pod.spec.containers if c.image}
    return tuple(
        f"container {name}: image {image} is ignored, the program runs from this machine"
        for name, image in images.items()
    )
