"""Which pods run on a node, by service account: what the certificate authority asks."""

from collections import defaultdict
from collections.abc import Iterator

from ambimesh.kube.core import Pod
from ambimesh.kube.meta import Resource
from ambimesh.kube.reflector import Reflector

Key = tuple[str, str]  # (namespace, name)
Place = tuple[str, str, str]  # (node, namespace, service account)


class Placement:
    """An index over a reflector of pods, kept right by telling it of changes."""

    def __init__(self, pods: Reflector[Pod]) -> None:
        self._pods = pods
        self._at: defaultdict[Place, set[Key]] = defaultdict(set)
        self._place: dict[Key, Place] = {}

    def changed(self, kind: type[Resource], keys: frozenset[Key]) -> None:
        """Note that objects changed; only pods matter."""
        if kind is not Pod:
            return
        for key in keys:
            old = self._place.pop(key, None)
            if old is not None:
                self._at[old].discard(key)
                if not self._at[old]:
                    del self._at[old]
            pod = self._pods.get(*key)
            if pod is not None and pod.spec.node_name:
                place = (pod.spec.node_name, key[0], pod.spec.service_account_name or "default")
                self._place[key] = place
                self._at[place].add(key)

    def pod(self, namespace: str, name: str) -> Pod | None:
        """Find a pod."""
        return self._pods.get(namespace, name)

    def pods_on(self, node: str, namespace: str, service_account: str) -> Iterator[Pod]:
        """Give the pods of a node that run as a service account."""
        for key in self._at.get((node, namespace, service_account), ()):
            pod = self._pods.get(*key)
            if pod is not None:
                yield pod
