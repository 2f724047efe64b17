"""The waiting page and its stream on the wire: who is sent them, with which headers, and how long
they count as demand."""

from __future__ import annotations

import asyncio
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from activator.proxy.browser import stream as streams
from activator.proxy.browser import visits
from tests.integration.browser.support import HTML, Stream, stream_of
from tests.stage import request
from tests.support import eventually
from tests.town import endpoint, spawn, town

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.rawclient import Reply
    from tests.town import Town


@pytest.fixture(autouse=True)
def _short_visits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "LINGERS", 0.3)
    monkeypatch.setattr(streams, "LOOK", 0.02)


def watching(
    t: Town, target: str = "/", *, at: str = "a", headers: dict[str, str] | None = None
) -> AbstractAsyncContextManager[Stream]:
    return stream_of(t.port, target, host=f"{at}.example", headers=headers)


async def look(t: Town, target: str = "/", **kind: Any) -> Reply:
    return await t.get(target, headers=HTML | kind.pop("headers", {}), **kind)


def stuck(t: Town) -> None:
    """What is started from now on does not become ready."""
    t.starts_ready = False


def let_go(t: Town) -> None:
    t.starts_ready = True
    for replica in t.by_id.values():
        replica.ready = True


async def test_a_browser_gets_a_page_that_nobody_keeps_and_that_may_load_nothing() -> None:
    async with town(waitingPage=True) as t:
        stuck(t)
        reply = await look(t, "/x?a=<b>&c='")

        assert (reply.status, reply.why) == (503, "starting")
        assert reply.get("content-type") == b"text/html; charset=utf-8"
        assert reply.get("cache-control") == b"no-store"
        assert reply.get("x-robots-tag") == b"noindex"
        assert 1 <= int(reply.get("retry-after") or 0) <= 60
        policy = (reply.get("content-security-policy") or b"").decode()
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        nonces = set(re.findall(r"nonce-([\w-]+)", policy))
        body = reply.body.decode()
        assert {*re.findall(r'nonce="([^"]+)"', body)} == nonces
        assert len(nonces) == 1
        assert 'http-equiv="refresh" content="5;url=./x?a=&lt;b&gt;&amp;c=&#x27;"' in body
        assert "/.activator/waiting?at=%2Fx%3Fa%3D%3Cb%3E%26c%3D%27" in body
        assert not re.search(r"(?:src|href)=", body)
        assert (await look(t)).body != reply.body  # a nonce is for one time
        let_go(t)
        await t.until_state("active")


async def test_head_has_the_head_alone_and_programs_wait_as_ever() -> None:
    async with town(waitingPage=True) as t:
        stuck(t)
        head = await look(t, method="HEAD")
        assert (head.status, head.body) == (503, b"")
        assert int(head.get("content-length") or 0) > 1000
        waiting = spawn(t.get(headers={"Accept": "*/*"}))
        await eventually(lambda: t.live_of("a").gate.held == 1)
        let_go(t)
        assert (await waiting).status == 200


async def test_without_the_key_a_browser_waits_like_everybody() -> None:
    async with town() as t:
        assert (await look(t)).status == 200


async def test_a_look_wakes_and_when_it_is_ready_the_app_answers() -> None:
    async with town(waitingPage=True) as t:
        assert (await look(t)).status == 503
        await t.until_state("active")
        assert (await look(t)).status == 200
        assert t.orders("a") == [1]


async def test_a_look_is_demand_for_a_while_and_then_no_more() -> None:
    async with town(waitingPage=True, scale={"idleTimeout": "200ms"}) as t:
        await look(t)
        gate = t.live_of("a").gate
        assert (gate.demand, gate.held, gate.in_flight) == (1, 0, 0)
        await t.until_state("active")
        assert gate.demand == 0
        await t.until_zero("a")

        stuck(t)
        await look(t)
        await look(t)
        assert gate.demand == 1
        await eventually(lambda: gate.demand == 0)
        let_go(t)
        await t.until_zero("a")


async def test_the_stream_tells_how_it_goes_on_and_at_last_that_it_is_ready() -> None:
    async with town(waitingPage=True) as t:
        stuck(t)
        await look(t)
        async with watching(t) as stream:
            assert stream.status == 200
            assert b"Content-Type: text/event-stream" in stream.head
            name, told = await stream.event()
            assert name == "progress"
            assert told["place"] == "you are next"
            assert told["usual"].startswith("not known yet")
            while told["step"] != 2:
                name, told = await stream.event()
            assert told["headline"] == "Starting up"
            assert told["elapsed"] >= 0
            let_go(t)
            await stream.until("ready")
            assert await stream.event() == ("", {})
        gate = t.live_of("a").gate
        assert (gate.held, gate.demand) == (0, 0)


async def test_visitors_stand_in_line_in_the_order_in_which_they_came() -> None:
    async with town(waitingPage=True, concurrency=1) as t:
        stuck(t)
        async with watching(t) as first, watching(t) as second:
            assert (await first.event())[1]["place"] == "you are next"
            assert (await second.event())[1]["place"] == "number 2 in line"
            assert "2 in line before you" in (await look(t)).body.decode()
            let_go(t)
            await first.until("ready")
            await second.until("ready")


async def test_whoever_leaves_is_out_of_line_and_keeps_nothing_awake() -> None:
    async with town(waitingPage=True, scale={"idleTimeout": "200ms"}) as t:
        stuck(t)
        gate = t.live_of("a").gate
        async with watching(t) as stream:
            await stream.event()
            assert (gate.held, gate.demand) == (1, 1)
        await eventually(lambda: (gate.held, gate.demand) == (0, 0))
        let_go(t)
        await t.until_zero("a")


async def test_a_tab_that_stays_open_waits_no_longer_than_any_request() -> None:
    async with town(waitingPage=True, queue={"timeout": "300ms"}) as t:
        stuck(t)
        async with watching(t) as stream:
            assert "queue.timeout" in (await stream.until("over"))["problem"]
            assert await stream.event() == ("", {})
        assert t.live_of("a").gate.demand == 0


async def test_a_start_that_fails_is_told_with_its_cause_and_tried_again() -> None:
    async with town(waitingPage=True) as t:
        t.driver_of("a").fail_next("exited with 3: <no device>", times=3)
        async with watching(t) as stream:
            told: dict[str, Any] = {"problem": "", "retry": None}
            while told["retry"] is None:
                _, told = await stream.event()
            assert told["headline"] == "It could not be started"
            assert "exited with 3: <no device>" in told["problem"]
            page = await look(t)
            assert (page.status, page.why) == (503, "start_failed")
            assert 1 <= int(page.get("retry-after") or 0) <= 60
            assert b"exited with 3: &lt;no device&gt;" in page.body
            t.control_of("a").verbs.activate()  # as the breaker's end would
            await stream.until("ready")


async def test_a_paused_endpoint_says_so_and_goes_on_when_it_is_resumed() -> None:
    async with town(waitingPage=True) as t:
        t.control_of("a").verbs.pause()
        page = await look(t)
        assert (page.status, page.why) == (503, "paused")
        assert b"Paused by an operator" in page.body
        async with watching(t) as stream:
            assert (await stream.event())[1]["headline"] == "Paused by an operator"
            assert t.orders("a") == []
            t.control_of("a").verbs.resume()
            await stream.until("ready")


async def test_when_the_activator_ends_the_stream_ends_so_that_another_is_asked() -> None:
    async with town(waitingPage=True, checked=False) as t:
        stuck(t)
        async with watching(t) as stream:
            await stream.event()
            began = asyncio.get_running_loop().time()
            stopping = spawn(t.stop(grace=30.0))
            while (await stream.event())[0]:
                pass
            await stopping
            assert asyncio.get_running_loop().time() - began < 5


async def test_the_stream_is_there_for_pages_that_would_be_shown_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paged = endpoint("a", waitingPage=True, neverWake=[{"path": "/quiet", "status": 204}])
    async with town(endpoints=[paged, endpoint("b")]) as t:
        for target, at in (("/", "b"), ("/", "nowhere"), ("/quiet", "a"), ("x", "a"), ("/ ", "a"),
                           ("/.activator/waiting", "a")):  # fmt: skip
            async with watching(t, target, at=at) as stream:
                assert stream.status == 404, target
        post = request("/.activator/waiting?at=/", method="POST", host="a.example", body=b"")
        assert (await t.ask(post)).status == 405
        assert t.orders("a") == t.orders("b") == []
        monkeypatch.setattr(streams, "MOST", 0)
        async with watching(t) as stream:
            assert stream.status == 503


async def test_a_page_is_for_those_who_may_use_the_endpoint(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    both = {"one": "a", "two": "b"}
    lines = (f"{n}:{sha256(n.encode()).hexdigest()}:{of}\n" for n, of in both.items())
    keys.write_text("".join(lines), "utf-8")
    made = [endpoint("a", waitingPage=True), endpoint("b")]
    async with town(endpoints=made, root={"auth": {"apiKeysFile": str(keys)}}) as t:
        stuck(t)
        assert (await look(t)).status == 401
        async with watching(t) as stream:
            assert stream.status == 401
        wrong, right = {"X-Api-Key": "two"}, {"X-Api-Key": "one"}
        assert (await look(t, headers=wrong)).status == 404
        async with watching(t, headers=wrong) as stream:
            assert stream.status == 404
        assert t.orders("a") == []
        assert (await look(t, headers=right)).status == 503
        async with watching(t, headers=right) as stream:
            assert (await stream.event())[0] == "progress"
        let_go(t)
        await t.until_state("active")


async def test_a_fallback_is_asked_first_and_the_page_shown_if_it_has_no_answer() -> None:
    made = [endpoint("a", waitingPage=True, fallback={"endpoint": "b"}), endpoint("b")]
    async with town(endpoints=made) as t:
        page = await look(t)
        assert (page.status, page.why) == (503, "starting")
        await t.until_state("active")
        assert (await t.get(at="b")).status == 200
        t.control_of("a").life.pause()
        await t.app.operations.deactivate("a", force=True)
        await t.until_zero("a")

        answer = await look(t)
        assert (answer.status, answer.get("x-activator-served-by")) == (200, b"b")


async def test_a_template_has_the_last_word_on_the_looks_and_is_taken_up_when_it_changes() -> None:
    async with town(waitingPage=True) as t:
        stuck(t)
        template = t.folder / "page.html"
        template.write_text("<head>$head</head><b>$endpoint</b>: $headline", "utf-8")
        t.config["endpoints"][0]["waitingPageTemplate"] = "page.html"
        await t.reloaded()
        assert b"<b>a</b>: Waking up" in (await look(t)).body

        template.write_text("<head>$head</head><i>$endpoint</i>", "utf-8")
        await eventually(lambda: "<i>" in t.live_of("a").endpoint.page_template)
        assert b"<i>a</i>" in (await look(t)).body

        template.write_text("$nothing", "utf-8")
        await eventually(lambda: t.app.operations.config_status().problems)
        assert "$nothing" in t.app.operations.config_status().problems[0]
        assert b"<i>a</i>" in (await look(t)).body
        let_go(t)
        await t.until_state("active")
