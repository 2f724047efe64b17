"""How `activator serve` ends, and what becomes of everything it had: clients, models, ports."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.rawclient import Cut
from tests.serving import serving
from tests.stage import request
from tests.support import eventually
from tests.town import UPGRADE, echo, spawn, town

if TYPE_CHECKING:
    from pathlib import Path


async def test_sigterm_finishes_what_runs_serves_who_waits_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, fresh=False, server={"drainDelay": "600ms"}, concurrency=1) as s:
        resting = await s.connect()
        resting.send(request("/"))
        assert (await resting.reply()).get("connection") != b"close"
        running = spawn(s.get("/slow/1.2"))
        await s.until_status(in_flight=1, held=0)
        waiting = spawn(s.get("/waiting"))
        await s.until_status(in_flight=1, held=1)
        s.tell(signal.SIGTERM)
        await s.until_logged("draining")

        assert (await s.ask_admin("/livez")).status == 200
        assert (await s.ask_admin("/readyz")).status == 503
        late = spawn(s.get("/late"))  # still accepted, within the delay
        assert (await running).body == b"hello"
        assert (await waiting).body == b"hello"
        last = await late
        assert (last.status, last.get("connection")) == (200, b"close")
        assert await resting.ended() == "eof"
        await resting.close()
        assert await s.ended() == 0
        assert s.living() == []
        assert len(s.models) == 2


async def test_who_cannot_be_served_within_the_grace_is_told(tmp_path: Path) -> None:
    async with serving(
        tmp_path, fresh=False, server={"shutdownGrace": "500ms"}, concurrency=1
    ) as s:
        running = spawn(s.get("/slow/30"))
        await s.until_status(in_flight=1)
        waiting = spawn(s.get())
        await s.until_status(in_flight=1, held=1)
        began = time.monotonic()
        s.tell(signal.SIGTERM)

        told = await waiting
        assert (told.status, told.why) == (503, "shutting_down")
        assert 0.4 < time.monotonic() - began < 2.0
        with pytest.raises(Cut):
            await running
        assert await s.ended() == 0
        assert s.living() == []


async def test_sigint_does_not_wait_for_load_balancers(tmp_path: Path) -> None:
    async with serving(tmp_path, fresh=False, server={"drainDelay": "30s"}) as s:
        assert (await s.get()).status == 200
        began = time.monotonic()
        s.tell(signal.SIGINT)

        assert await s.ended() == 0
        assert time.monotonic() - began < 5.0
        assert s.living() == []


async def test_a_second_signal_waits_for_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, fresh=False, server={"drainDelay": "30s"}) as s:
        running = spawn(s.get("/slow/30"))
        await s.until_status(in_flight=1)
        s.tell(signal.SIGTERM)
        await s.until_logged("draining")
        began = time.monotonic()
        s.tell(signal.SIGTERM)

        with pytest.raises(Cut):
            await running
        assert await s.ended() == 0
        assert time.monotonic() - began < 5.0
        assert s.living() == []


async def test_a_second_signal_gives_a_stubborn_model_no_more_time(tmp_path: Path) -> None:
    async with serving(tmp_path, fresh=False, stubborn=True) as s:
        assert (await s.get()).status == 200
        s.tell(signal.SIGTERM)
        await s.until_logged("draining")
        await asyncio.sleep(0.3)  # that they go on has no other sign
        assert len(s.living()) == 2
        s.tell(signal.SIGTERM)

        assert await s.ended(within=5.0) == 0
        assert s.living() == []


async def test_a_signal_while_a_model_starts_leaves_none(tmp_path: Path) -> None:
    async with serving(tmp_path, fresh=False, probe={"path": "/never", "timeout": "5s"}) as s:
        waiting = spawn(s.get("/"))
        await eventually(lambda: len(s.models) == 2)
        s.tell(signal.SIGTERM)
        await s.until_logged("draining")
        s.tell(signal.SIGTERM)

        assert (await waiting).why == "shutting_down"
        assert await s.ended() == 0
        assert s.living() == []


async def test_killed_it_leaves_no_model_and_no_grandchild(tmp_path: Path) -> None:
    async with serving(tmp_path, fresh=False) as s:
        await s.get()
        assert len(s.living()) == 2
        s.process.kill()

        await s.until_no_model()


async def test_sighup_takes_the_file_up(tmp_path: Path) -> None:
    async with serving(tmp_path, fresh=False) as s:
        kept = await s.connect()
        kept.send(request("/"))
        await kept.reply()
        s.config["endpoints"][0]["concurrency"] = 7
        s.write()
        s.tell(signal.SIGHUP)
        await s.until_logged("configuration_changed", within=0.9)

        kept.send(request("/"))
        assert (await kept.reply()).status == 200
        await kept.close()
        assert len(s.models) == 2


async def test_the_grace_that_was_reloaded_holds(tmp_path: Path) -> None:
    async with serving(tmp_path, fresh=False, server={"shutdownGrace": "1h"}) as s:
        running = spawn(s.get("/slow/30"))
        await eventually(lambda: s.models)
        s.config["server"]["shutdownGrace"] = "100ms"
        s.write()
        s.tell(signal.SIGHUP)
        await s.until_logged("configuration_changed")
        s.tell(signal.SIGTERM)

        assert await s.ended() == 0
        with pytest.raises(Cut):
            await running


@pytest.mark.parametrize("key", ["listen", "admin"])
async def test_a_port_in_use_is_one_clear_line(key: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", key: f"127.0.0.1:{port}"}
        path = tmp_path / "activator.yaml"
        path.write_text(
            f"server: {{listen: '{ports['listen']}', admin: '{ports['admin']}'}}\n"
            "endpoints: [{name: m, backend: {type: static, urls: ['http://127.0.0.1:1']}}]\n"
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "activator", "serve", "-c", str(path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()

    said = err.decode().strip()
    assert process.returncode == 1
    assert out == b""
    assert len(said.splitlines()) == 1, said
    assert str(port) in said
    assert "in use" in said


async def test_a_tunnel_may_finish_within_the_grace() -> None:
    async with town("a", behave=echo, checked=False) as t:
        tunnel = await t.send(UPGRADE)
        assert (await tunnel.head()).status == 101
        stopping = spawn(t.stop(grace=5.0))
        await eventually(lambda: t.app.operations.ready() == "shutting down")
        for _ in range(3):
            await asyncio.sleep(0.1)
            tunnel.send(b"ping")
            assert await tunnel.exactly(4) == b"ping"
        assert not stopping.done()

        await tunnel.close()
        await asyncio.wait_for(stopping, timeout=1.0)


async def test_who_waits_for_a_replica_that_is_being_started_is_served_while_it_stops() -> None:
    async with town("a", checked=False) as t:
        t.driver_of("a").start_delay = 0.3
        waiting = [spawn(t.get()) for _ in range(3)]
        await eventually(lambda: t.status_of("a").held == 3)
        await t.stop(grace=5.0)

        replies = await asyncio.gather(*waiting)
        assert {reply.status for reply in replies} == {200}
        assert {reply.get("connection") for reply in replies} == {b"close"}
        assert t.driver_of("a").running == ()


async def test_who_waits_at_a_paused_endpoint_is_told_when_the_grace_is_over() -> None:
    async with town("a", checked=False) as t:
        t.control_of("a").verbs.pause()
        waiting = spawn(t.get())
        await eventually(lambda: t.status_of("a").held == 1)
        await t.stop(grace=0.2)

        reply = await waiting
        assert (reply.status, reply.why) == (503, "shutting_down")
        assert t.orders("a") == []
