"""The program that joins the nodes: runs once, in the fabric's namespaces, then ends.

The supervisor cannot do it: outside the mesh's user namespace it may not enter the networks.
Its one argument is a JSON object: node number to descriptor.
"""

import json
import sys
from collections.abc import Mapping

from ambimesh.local.fabric import NodeNetwork, configure_fabric
from ambimesh.local.programs import isolated


def command(descriptors: Mapping[int, int]) -> tuple[str, ...]:
    """Give the command that joins nodes, whose networks it inherits as ``descriptors``."""
    return isolated(__name__, json.dumps(descriptors))


def main() -> None:
    """Join the nodes. Exit code 1 and one line on standard error when it cannot be done."""
    nodes = json.loads(sys.argv[1])
    try:
        configure_fabric([NodeNetwork(int(number), fd) for number, fd in nodes.items()])
    except OSError as error:
        sys.stderr.write(f"{error.strerror or error}\n")
        sys.exit(1)
