"""Loading and reading back rulesets with the ``nft`` program, in a network namespace.

``nft`` is a program and not a library to us: libnftables is under another licence, and five
milliseconds a pod are nothing.
"""

import json
import shutil
import subprocess

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError
from ambimesh.node.namespace import run_in

DEADLINE_SECONDS = 10.0


class RulesetError(Exception):
    """``nft`` refused a transaction; nothing of it is in force."""


def require_nft() -> None:
    """Check that ``nft`` is there.

    Raises:
        EnvironmentFaultError: AMB0101, it is not installed.
    """
    if shutil.which("nft") is None:
        raise EnvironmentFaultError(catalogue.NFT_MISSING.problem())


def load(namespace: int, ruleset: str) -> None:
    """Put one transaction in force in a namespace, whole or not at all.

    Blocking: 5 to 45 ms; no packet waits for it.

    Raises:
        RulesetError: refused, with nft's own words, or not answered in time.
    """
    run_in(namespace, lambda: _nft(["-f", "-"], ruleset))


def read_back(namespace: int, table: str) -> tuple[str, ...] | None:
    """Read what stands in a table.

    Shape: one canonical JSON line per chain and rule, in order, without handles and without
    set elements (they come and go by time); ``None`` if there is no such table.

    Raises:
        RulesetError: ``nft`` failed for another reason than a missing table.
    """
    try:
        text = run_in(namespace, lambda: _nft(["-j", "list", "table", "inet", table], ""))
    except RulesetError as error:
        if "No such file or directory" in str(error):
            return None
        raise
    return canonical(text)


def canonical(text: str) -> tuple[str, ...]:
    """Reduce nft's JSON to what a comparison may look at."""
    lines = []
    for entry in json.loads(text)["nftables"]:
        for kind in ("chain", "rule", "set", "map"):
            if kind in entry:
                kept = {k: v for k, v in entry[kind].items() if k not in {"handle", "elem"}}
                lines.append(json.dumps({kind: kept}, sort_keys=True))
    return tuple(lines)


def _nft(arguments: list[str], text: str) -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )
    except OSError as error:  # it was there when the agent started
        raise RulesetError(f"nft cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise RulesetError(f"nft did not answer within {DEADLINE_SECONDS:g} s") from error
    if done.returncode:
        raise RulesetError(done.stderr.strip() or f"nft ended with {done.returncode}")
    return done.stdout
