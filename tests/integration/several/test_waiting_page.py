"""The waiting page where a load balancer sends each of a browser's requests anywhere."""

from __future__ import annotations

from tests.integration.browser.support import HTML, stream_of
from tests.several import several


async def test_a_page_of_one_activator_is_told_by_another_that_it_is_ready() -> None:
    async with several(2, waitingPage=True) as s:
        one, other = s.activators
        page = await one.get("/", headers=HTML)
        assert (page.status, page.why) == (503, "starting")
        async with stream_of(other.data, host="m.example") as stream:
            await stream.until("ready")
        reply = await other.get("/", headers=HTML)
        assert reply.status == 200
        assert {each.replicas for each in s.world.asked} == {1}  # by both, in the same moment
        assert len(s.replicas) == 1
