"""Commands that run parts of this package as programs of their own."""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).parents[2])
_BOOT = """\
import sys
sys.path.insert(0, sys.argv[1])
from importlib import import_module
module = import_module(sys.argv[2])
del sys.argv[1:3]
module.main()
"""


def isolated(module: str, *arguments: str) -> tuple[str, ...]:
    """Give the command that calls ``main()`` of a module that needs only the standard library.

    -S: site-packages would cost 20 ms and memory in every init; -I: no program of ours may
    depend on what is in the user's environment.
    """
    return (sys.executable, "-I", "-S", "-c", _BOOT, _ROOT, module, *arguments)
