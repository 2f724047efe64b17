"""One task sleeps until it is woken, or for so long."""

from __future__ import annotations

import asyncio

import pytest

from activator.aiokit.wake import Wake

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_who_sleeps_is_woken_however_often_it_is_set() -> None:
    wake = Wake()
    asyncio.get_running_loop().call_later(3.0, wake.set)
    asyncio.get_running_loop().call_later(3.0, wake.set)

    await wake.wait()

    assert now() == pytest.approx(3.0)


async def test_what_was_set_before_is_remembered_until_it_is_cleared() -> None:
    wake = Wake()
    wake.set()
    await wake.wait()
    await wake.wait(5.0)
    assert now() == 0.0

    wake.clear()
    await wake.wait(5.0)
    assert now() == pytest.approx(5.0)


async def test_a_sleep_that_is_cancelled_leaves_nothing_behind() -> None:
    wake = Wake()
    sleeping = asyncio.ensure_future(wake.wait(9.0))  # noqa: TID251 - what a test waits for
    await asyncio.sleep(1.0)
    sleeping.cancel()
    wake.set()
    with pytest.raises(asyncio.CancelledError):
        await sleeping

    await wake.wait()
    wake.clear()
    await wake.wait(2.0)
    assert now() == pytest.approx(3.0)
