"""What compilers say about an object a person wrote: becomes a condition of its status."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One condition, without its times."""

    type: str
    accepted: bool
    reason: str
    message: str
    generation: int = 0  # of the object that was compiled
