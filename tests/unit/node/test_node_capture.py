"""Capturing and releasing pods, over fakes of the kernel, the init and the proxy."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ambimesh.node.capture import CaptureError, Captures, CaptureState, PodIdentity
from ambimesh.node.nftables import RulesetError
from support.capture_fakes import World

POD = PodIdentity(uid="u1", namespace="demo", name="web", service_account="web")
CAPTURE = ["listen u1", "keep u1", "prepare u1", "enrol u1", "capture u1"]


@pytest.fixture
def world() -> Iterator[World]:
    """A node with one pod."""
    made = World(sandboxes={"u1"})
    yield made
    made.close()


def open_descriptors() -> int:
    """Count this process's descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def captured(world: World) -> Captures:
    """Capture the pod."""
    captures = world.captures()
    await captures.capture(POD)
    return captures


async def test_rules_are_loaded_after_the_proxy_has_taken_the_pod(world: World) -> None:
    """Until somebody listens, connections go their usual way."""
    captures = await captured(world)

    assert world.log == CAPTURE
    assert captures.state("u1") is CaptureState.CAPTURED


async def test_capture_twice_does_it_once(world: World) -> None:
    """A pod that is captured is left alone."""
    captures = await captured(world)
    await captures.capture(POD)

    assert world.log == CAPTURE


async def test_without_a_proxy_the_pod_is_pending_and_not_redirected(world: World) -> None:
    """Its traffic flows on; when a proxy comes it is captured with the same listeners."""
    world.has_proxy = False
    captures = world.captures()
    with pytest.raises(CaptureError, match="pod demo/web: no node proxy is connected"):
        await captures.capture(POD)
    assert captures.state("u1") is CaptureState.PENDING
    assert "u1" not in world.rules

    world.has_proxy = True
    await captures.capture(POD)

    assert captures.state("u1") is CaptureState.CAPTURED
    assert world.log.count("listen u1") == 1


@pytest.mark.parametrize("step", ["listen", "keep", "prepare", "capture"])
async def test_whatever_fails_is_named_and_can_be_tried_again(world: World, step: str) -> None:
    """Each step's failure is a ``CaptureError`` with the pod's name; nothing leaks."""
    before = open_descriptors()
    fault = RulesetError("refused") if step == "capture" else OSError(98, "refused")
    world.broken = {step: fault}
    captures = world.captures()
    with pytest.raises(CaptureError, match=r"pod demo/web: .*refused"):
        await captures.capture(POD)

    world.broken = {}
    await captures.capture(POD)
    await captures.forget("u1")
    world.close()

    assert open_descriptors() == before


async def test_pod_without_a_sandbox_is_not_captured(world: World) -> None:
    """A pod that is gone meanwhile is an error, not a crash."""
    world.sandboxes.clear()
    with pytest.raises(CaptureError, match="namespace is not there"):
        await world.captures().capture(POD)


async def test_release_drains_until_nothing_is_carried(world: World) -> None:
    """Rules go and Del is sent only when the last carried connection has ended."""
    captures = await captured(world)
    world.carried["u1"] = 1
    await captures.release("u1")
    await captures.finish_draining()
    assert captures.state("u1") is CaptureState.DRAINING
    assert world.log == [*CAPTURE, "drain u1"]

    world.carried["u1"] = 0
    await captures.finish_draining()

    assert captures.state("u1") is None
    assert world.log == [*CAPTURE, "drain u1", "unenrol u1", "remove u1", "drop u1"]


async def test_draining_pod_is_captured_again(world: World) -> None:
    """A label that comes back while connections drain redirects new ones at once."""
    captures = await captured(world)
    await captures.release("u1")

    await captures.capture(POD)

    assert captures.state("u1") is CaptureState.CAPTURED
    assert world.rules["u1"] == "capture"
    assert world.log.count("listen u1") == 1


async def test_failed_release_leaves_the_pod_captured(world: World) -> None:
    """What could not be changed is as it was."""
    captures = await captured(world)
    world.broken = {"drain": RulesetError("busy")}

    with pytest.raises(CaptureError, match="busy"):
        await captures.release("u1")

    assert captures.state("u1") is CaptureState.CAPTURED


async def test_one_pod_that_cannot_be_ended_does_not_keep_others(world: World) -> None:
    """Every draining pod is looked at, whatever happens with the first."""
    world.sandboxes.add("u2")
    captures = await captured(world)
    await captures.capture(PodIdentity(uid="u2", namespace="demo", name="two", service_account="x"))
    for uid in ("u1", "u2"):
        await captures.release(uid)
    world.broken = {"remove": RulesetError("busy")}
    await captures.finish_draining()
    world.broken = {}

    await captures.finish_draining()

    assert captures.states() == {}


async def test_pod_that_has_ended_is_forgotten_without_touching_its_namespace(
    world: World,
) -> None:
    """The namespace is going anyway; the proxy hears of it."""
    captures = await captured(world)
    await captures.forget("u1")
    await captures.forget("unknown")

    assert world.log == [*CAPTURE, "unenrol u1"]
    assert captures.state("u1") is None


async def test_capture_that_waited_for_an_end_starts_anew(world: World) -> None:
    """A descriptor that was closed meanwhile may be another pod's namespace: never used."""
    captures = await captured(world)
    await captures.release("u1")

    await asyncio.gather(captures.finish_draining(), captures.capture(POD))

    assert captures.state("u1") is CaptureState.CAPTURED
    assert world.log.count("listen u1") == 2
    assert world.rules["u1"] == "capture"


async def test_foreign_change_is_found_and_mended(world: World) -> None:
    """Rules that somebody deleted or changed are loaded again, and it is told whose."""
    captures = await captured(world)
    damaged: list[PodIdentity] = []
    await captures.verify(damaged=damaged.append)
    assert damaged == []

    world.rules.pop("u1")
    await captures.verify(damaged=damaged.append)

    assert damaged == [POD]
    assert world.rules["u1"] == "capture"


async def test_verify_survives_a_pod_whose_rules_cannot_be_read(world: World) -> None:
    """A failure is logged; the next round looks again."""
    captures = await captured(world)
    world.rules.clear()
    world.broken = {"capture": RulesetError("busy")}
    await captures.verify(damaged=lambda _pod: None)

    world.broken = {}
    await captures.verify(damaged=lambda _pod: None)

    assert world.rules["u1"] == "capture"


@pytest.mark.parametrize(("is_captured", "rules"), [(True, "capture"), (False, "drain")])
async def test_adoption_loads_rules_before_any_proxy_is_there(
    world: World, is_captured: bool, rules: str
) -> None:
    """A new agent takes the listeners out of trust and leaves no moment in plaintext."""
    await captured(world)
    world.log.clear()
    world.has_proxy = False
    successor = world.captures()

    await successor.adopt(POD, captured=is_captured)

    assert world.log == ["prepare u1", f"{rules} u1"]
    assert successor.state("u1") is not CaptureState.PENDING
