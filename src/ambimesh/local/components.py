"""The parts of a mesh on one machine, as a table: what runs where, and in which order."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ambimesh.local import addresses
from ambimesh.local.addresses import API_PORT, DEBUG_PORT, XDS_PORT
from ambimesh.local.home import Home
from ambimesh.local.machine import FABRIC

API_LISTENER = 3  # number of the listening socket of 127.0.0.1 that the API server inherits
_NODE_ACCOUNTS = "istio-system/ztunnel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One long-running program of the mesh.

    It is ready when it has written a line that begins with READY to its log, on standard
    output or standard error.
    """

    name: str
    place: str  # "fabric", or the name of a node
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)  # beside the supervisor's own
    takes_listener: bool = False  # inherits the API's listening socket as descriptor 3
    ready_seconds: float = 60.0

    @property
    def key(self) -> str:
        """Its key in the init of its place."""
        return f"component/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All components: first the API server, then (with its objects there) everything else."""

    api: Component
    rest: tuple[Component, ...]

    @property
    def all(self) -> tuple[Component, ...]:
        """Give all, in the order of their start."""
        return (self.api, *self.rest)


def standard_plan(home: Home, nodes: Sequence[str]) -> Plan:
    """Give the components of a mesh with these nodes."""
    control = addresses.control()
    api = ambi(
        "apiserver",
        *("--home", str(home.root), "--listen-fd", str(API_LISTENER)),
        *("--listen", f"{control.v4}:{API_PORT}", "--listen", f"[{control.v6}]:{API_PORT}"),
        *(argument for node in nodes for argument in ("--node", node)),
    )
    control_plane = ambi(
        "controlplane",
        *("--kubeconfig", str(home.credential("controlplane"))),
        *("--listen", f"{control.v4}:{XDS_PORT}", "--listen", f"[{control.v6}]:{XDS_PORT}"),
        *("--monitor", f"{control.v4}:{DEBUG_PORT}"),
    )
    return Plan(
        api=Component(name="apiserver", place=FABRIC, argv=api, takes_listener=True),
        rest=(
            Component(
                name="controlplane",
                place=FABRIC,
                argv=control_plane,
                env={"CA_TRUSTED_NODE_ACCOUNTS": _NODE_ACCOUNTS},
            ),
            *(
                Component(
                    name=node,
                    place=node,
                    argv=ambi("node", "--home", str(home.root), "--node", node),
                )
                for node in nodes
            ),
        ),
    )


def ambi(*arguments: str) -> tuple[str, ...]:
    """Give the command that runs a command of ours with this interpreter."""
    return (sys.executable, "-m", "ambimesh.cli.main", *arguments)
