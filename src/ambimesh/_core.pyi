"""The Rust core of the node proxy. Import it lazily: importing runs a cryptographic self-test."""

from typing import TypedDict

class BuildInfo(TypedDict):
    """What was built."""

    version: str
    profile: str
    provider: str
    fips: bool

def run(env: dict[str, str]) -> int:
    """Run a node proxy with these environment variables until it is told to end.

    Blocking: for the life of the proxy, with the GIL released.

    Returns:
        The exit code of the process: 0 after a drain, 2 for a bad setting, 1 for everything else.

    Raises:
        RuntimeError: a defect; the proxy panicked.
    """

def build_info() -> BuildInfo:
    """Describe this build: version, profile, cryptographic provider, and whether it is FIPS."""
