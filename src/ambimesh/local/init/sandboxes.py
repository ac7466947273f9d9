"""Sandboxes of an init (network namespaces of pods), and the descriptors it keeps."""

import os
from collections.abc import Iterator, Mapping, Sequence

from ambimesh.node import namespace


class Sandboxes:
    """Network namespaces by key. The init's own is left for a moment to make one."""

    def __init__(self) -> None:
        self._home = namespace.NetworkNamespace.current()
        self._by_key: dict[str, namespace.NetworkNamespace] = {}

    @property
    def home(self) -> int:
        """Descriptor of the init's own network namespace."""
        return self._home.fileno()

    def keys(self) -> tuple[str, ...]:
        """List the keys, sorted."""
        return tuple(sorted(self._by_key))

    def get(self, key: str) -> int | None:
        """Give the descriptor of one."""
        found = self._by_key.get(key)
        return None if found is None else found.fileno()

    def create(self, key: str, sysctls: Mapping[str, str]) -> int:
        """Make one with loopback up; its key must be free. Errors: ``OSError``, nothing made."""
        namespace.unshare(namespace.CLONE_NEWNET)
        try:
            namespace.enable_loopback()
            for name, value in sysctls.items():
                namespace.write_sysctl(name, value)
            self._by_key[key] = namespace.NetworkNamespace.current()
        finally:
            namespace.setns(self._home.fileno(), namespace.CLONE_NEWNET)
        return self._by_key[key].fileno()

    def inhabitants(self, key: str) -> Iterator[int]:
        """Give the pids of all processes in the sandbox, however they came to be there."""
        identity = self._by_key[key].identity
        for name in os.listdir("/proc"):  # noqa: PTH208  # a few thousand: no Path objects
            if name.isdigit() and _network_of(name) == identity:
                yield int(name)

    def forget(self, key: str) -> None:
        """Give one up; it ends when nobody else holds it."""
        self._by_key.pop(key).close()


class KeptDescriptors:
    """Descriptors kept for clients, by key and name."""

    def __init__(self) -> None:
        self._by_key: dict[str, dict[str, int]] = {}

    def keep(self, key: str, names: Sequence[str], descriptors: Sequence[int]) -> None:
        """Keep ``descriptors``, which are ours from now on, in the place of older ones."""
        held = self._by_key.setdefault(key, {})
        for name, descriptor in zip(names, descriptors, strict=True):
            if name in held:
                os.close(held[name])
            held[name] = descriptor

    def fetch(self, key: str) -> Mapping[str, int]:
        """Give those of ``key``."""
        return self._by_key.get(key, {})

    def drop(self, key: str) -> None:
        """Close those of ``key``."""
        for descriptor in self._by_key.pop(key, {}).values():
            os.close(descriptor)


def _network_of(pid: str) -> tuple[int, int] | None:
    """Give the identity of a process's network namespace; none for a zombie or a stranger."""
    try:
        status = os.stat(f"/proc/{pid}/ns/net")  # noqa: PTH116  # a magic link, thousands of them
    except OSError:
        return None
    return status.st_dev, status.st_ino
