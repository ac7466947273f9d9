"""Diagnostics and problems: what is wrong, the cause we observed, what to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a problem is; ``ERROR`` means that something asked for is not done."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One row of the catalogue.

    ``text`` and ``hint`` are format strings over the problem's facts. A retired code is
    never used again.
    """

    code: str  # "AMB" and four digits
    severity: Severity
    text: str
    hint: str

    def problem(self, cause: str = "", **facts: object) -> "Problem":
        """Make a problem of this kind; ``facts`` fill the places in ``text`` and ``hint``."""
        return Problem(diagnostic=self, cause=cause, facts=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something a person can act on: a diagnostic with its facts filled in."""

    diagnostic: Diagnostic
    cause: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """The stable code, for scripts and for the documentation."""
        return self.diagnostic.code

    @property
    def text(self) -> str:
        """What is true, naming the object."""
        return self.diagnostic.text.format(**self.facts)

    @property
    def hint(self) -> str:
        """What to do, with a command where there is one."""
        return self.diagnostic.hint.format(**self.facts)

    def render(self) -> str:
        """Give the three lines that a person reads; the cause line only if there is one."""
        lines = [f"{self.diagnostic.severity}[{self.code}]: {self.text}"]
        if self.cause:
            lines.append(f"  cause: {self.cause}")
        lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class ExitCode:
    """Exit codes of every command. Source: style.md §6."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    UNREACHABLE = 3


class MeshError(Exception):
    """Root of the errors that end an operation; carries the problem a person reads."""

    exit_code = ExitCode.FINDINGS

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.render())
        self.problem = problem


class UsageError(MeshError):
    """The caller asked for something that cannot be: bad input, wrong arguments."""

    exit_code = ExitCode.USAGE


class EnvironmentFaultError(MeshError):
    """The machine lacks something: a right, a program, a port, disk space."""


class UnreachableError(MeshError):
    """A part of the mesh does not answer."""

    exit_code = ExitCode.UNREACHABLE
