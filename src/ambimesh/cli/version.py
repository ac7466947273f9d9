"""``ambi version``: print versions and how the node proxy was built."""

import json
import platform
from typing import Literal

import click

import ambimesh


@click.command("version")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def command(output: Literal["text", "json"]) -> None:
    """Print versions, and which cryptographic module the node proxy runs."""
    # Only here: its self-test aborts the process when the module is damaged (design D12).
    from ambimesh import _core  # noqa: PLC0415

    facts = {"ambimesh": ambimesh.__version__, "python": platform.python_version()}
    facts |= {f"node_proxy_{key}": str(value) for key, value in _core.build_info().items()}
    if output == "json":
        click.echo(json.dumps(facts))
    else:
        for name, value in facts.items():
            click.echo(f"{name.replace('_', ' ')}: {value}")
