"""A browser in front of `activator serve`: a page first, then the app."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.integration.browser.support import HTML, stream_of
from tests.rawclient import RawClient
from tests.serving import serving
from tests.stage import request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rawclient import Reply


async def test_a_visit_wakes_the_app_which_goes_back_to_sleep_although_a_tab_is_open(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, waitingPage=True, scale={"idleTimeout": "500ms"}) as made:

        async def visit() -> Reply:
            client = await RawClient.connect("127.0.0.1", made.data)
            try:
                client.send(request("/", headers=HTML))
                return await client.reply()
            finally:
                await client.close()

        page = await visit()
        assert (page.status, page.why) == (503, "starting")
        async with stream_of(made.data, host="m.example") as stream:
            await stream.until("ready")
            opened, api = await asyncio.gather(visit(), made.get("/"))
            assert (opened.status, api.status) == (200, 200)
            assert opened.body == api.body == b"hello"
            await made.until_no_model()
