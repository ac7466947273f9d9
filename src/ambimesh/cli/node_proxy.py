"""The process that hosts the node proxy: hands the environment to the Rust core and waits.

It imports nothing but ``os`` and ``sys``, so that a node proxy costs a node little more memory
than the core itself. Started as ``python -m ambimesh.cli.node_proxy``.
"""

import os
import sys

USAGE = """\
usage: ambi node-proxy [proxy|version|help]

  proxy    carry the traffic of captured workloads until told to end (the default)
  version  print the version and the cryptographic module
  help     print this text

Settings are environment variables, named as those of Istio's ztunnel.
Exit codes: 0 drained, 1 failed, 2 bad setting or argument.
"""


def main(arguments: list[str]) -> int:
    """Run the command in ``arguments`` and return the exit code of the process."""
    # A second word is what Istio's chart passes ("proxy ztunnel"); it has no meaning here.
    command = arguments[0] if arguments else "proxy"
    if command in {"help", "-h", "--help"}:
        sys.stdout.write(USAGE)
        return 0
    if command not in {"proxy", "version", "--version"}:
        sys.stderr.write(f"error: unknown command {command!r}\n{USAGE}")
        return 2

    from ambimesh import _core  # noqa: PLC0415  # its self-test costs 10 ms and may abort

    if command == "proxy":
        return _core.run(dict(os.environ))
    build = _core.build_info()
    fips = "FIPS" if build["fips"] else "not FIPS"
    sys.stdout.write(
        f"ambimesh node proxy {build['version']} ({build['profile']}, {build['provider']}, {fips})\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
