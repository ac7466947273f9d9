"""Telling a demonstration on the terminal: steps, the commands they run, and checks that can fail."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import click

Value = TypeVar("Value")
COMMAND_SECONDS = 60.0
POLL_SECONDS = 0.05


class CheckFailedError(Exception):
    """A check of the demonstration did not hold; the text says which and what was seen."""


@dataclass(slots=True)
class Narrator:
    """Prints what happens and how long it took, and stops at the first check that fails."""

    environment: Mapping[str, str]
    steps: int
    _number: int = 0
    _began: float = field(default_factory=time.monotonic)

    def step(self, title: str) -> None:
        """Begin a step."""
        self._number += 1
        passed = time.monotonic() - self._began
        click.secho(f"\n[{self._number}/{self.steps}] {title}", bold=True, nl=False)
        click.secho(f"  ({passed:.1f}s)", dim=True)

    def say(self, text: str) -> None:
        """Explain something."""
        click.echo(f"      {text}")

    def check(self, text: str, *, holds: bool, seen: object = "") -> None:
        """Claim something that was observed.

        Raises:
            CheckFailedError: it does not hold.
        """
        if not holds:
            raise CheckFailedError(f"{text}: not so; seen: {seen}")
        click.secho(f"    ok {text}", fg="green")

    def run(self, *command: str, shown: bool = True, expect: int | None = 0) -> str:
        """Run a command as a person would type it; return what it printed.

        Raises:
            CheckFailedError: it ended with another code than ``expect`` (``None``: any).
        """
        if shown:
            click.secho(f"    $ {shlex.join(command)}", fg="cyan")
        done = subprocess.run(
            _resolved(command), env=self.environment, capture_output=True, text=True,
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        if expect is not None and done.returncode != expect:
            said = (done.stderr or done.stdout).strip()
            raise CheckFailedError(f"{shlex.join(command)} ended with {done.returncode}: {said}")
        return done.stdout + done.stderr

    def background(self, *command: str) -> subprocess.Popen[str]:
        """Start a command that goes on while the demonstration does."""
        click.secho(f"    $ {shlex.join(command)} &", fg="cyan")
        return subprocess.Popen(
            _resolved(command), env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def until(self, text: str, look: Callable[[], Value], *, seconds: float) -> Value:
        """Look until there is something, and claim it with the time it took.

        Raises:
            CheckFailedError: there was nothing in time.
        """
        began = time.monotonic()
        while not (found := look()):
            if time.monotonic() - began > seconds:
                raise CheckFailedError(f"{text}: not within {seconds:g} s")
            time.sleep(POLL_SECONDS)
        click.secho(f"    ok {text} ({time.monotonic() - began:.2f}s)", fg="green")
        return found

    def total(self) -> float:
        """Give the seconds since the beginning."""
        return time.monotonic() - self._began


def _resolved(command: Sequence[str]) -> list[str]:
    """Run our own command with this interpreter, wherever ``ambi`` is installed."""
    if command[0] == "ambi":
        return [sys.executable, "-m", "ambimesh.cli.main", *command[1:]]
    return list(command)


def person_environment(home: str, kubeconfig: str) -> dict[str, str]:
    """Give the environment of a person who works with this mesh."""
    return {**os.environ, "AMBIMESH_HOME": home, "KUBECONFIG": kubeconfig}
