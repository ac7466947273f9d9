"""How fast streams open."""

import asyncio

from ambimesh.xds.admission import Admission


async def test_callers_wait_for_their_turn_in_order() -> None:
    """A storm of callers passes one after another, the first at once."""
    loop = asyncio.get_running_loop()
    admission = Admission(1000.0, clock=loop.time)
    order: list[tuple[int, float]] = []

    async def call(number: int) -> None:
        await admission.wait()
        order.append((number, loop.time()))

    began = loop.time()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(call(number))

    assert [number for number, _ in order] == list(range(20))
    assert order[-1][1] - began >= 0.019
