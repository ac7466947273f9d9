"""Whether and when a container that ended is started again; pure.

Source: Kubernetes' pod lifecycle: restartPolicy, and a back-off that doubles from ten seconds to
five minutes and starts anew after ten minutes of running. Ours starts at one second: on one
machine nobody waits for an image.
"""

from dataclasses import dataclass

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 300.0
STEADY_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long the next start waits."""

    seconds: float = 0.0

    def after(self, *, ran_seconds: float) -> "Backoff":
        """Give the back-off after a run that lasted ``ran_seconds``."""
        if ran_seconds >= STEADY_SECONDS or self.seconds == 0:
            return Backoff(seconds=FIRST_SECONDS)
        return Backoff(seconds=min(self.seconds * 2, LONGEST_SECONDS))


def starts_again(policy: str, exit_code: int) -> bool:
    """Tell whether a container with this restart policy is started after this end."""
    match policy:
        case "Never":
            return False
        case "OnFailure":
            return exit_code != 0
        case _:
            return True
