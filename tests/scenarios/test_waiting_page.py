"""A browser in front of `activator serve`: a page first, then the app."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from aiohttp import ClientSession

from activator.app import build
from tests.integration.browser.support import HTML, stream_of
from tests.rawclient import RawClient
from tests.serving import serving
from tests.stage import request

if TYPE_CHECKING:
    from tests.rawclient import Reply

EXAMPLE = Path(__file__).parents[2] / "config/examples/waiting-page.yaml"


async def test_a_visit_wakes_the_app_which_goes_back_to_sleep_although_a_tab_is_open(
    tmp_path: Path,
) -> None:
    async with serving(
        tmp_path, fresh=False, waitingPage=True, scale={"idleTimeout": "500ms"}
    ) as made:

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


async def test_the_example_shows_its_own_page_and_then_its_app(tmp_path: Path) -> None:
    config = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    config["server"] |= {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
    (endpoint,) = config["endpoints"]
    endpoint["waitingPageTemplate"] = str(EXAMPLE.with_suffix(".html"))
    endpoint["backend"]["command"][-1] = endpoint["backend"]["command"][-1].replace("5;", "0.3;")
    endpoint["backend"]["cwd"] = str(tmp_path)
    path = tmp_path / "activator.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    activator = build(path)
    await activator.start()
    try:
        async with ClientSession(f"http://127.0.0.1:{activator.data_port}") as client:
            async with client.get("/", headers=HTML) as page:
                assert page.status == 503
                assert "<strong>files</strong>" in await page.text()
            async with stream_of(activator.data_port, host="m.example") as stream:
                await stream.until("ready")
            async with client.get("/", headers=HTML) as app:
                assert app.status == 200
                assert "Directory listing" in await app.text()
    finally:
        await activator.stop()
