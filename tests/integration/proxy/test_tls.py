"""TLS on the listener: what is negotiated, what the replica hears of it, and certificates anew."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from socket import SO_RCVBUF, SOL_SOCKET
from typing import TYPE_CHECKING

import pytest

from activator.wire import farewell
from tests.rawclient import Cut
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.replica import Talk

pytestmark = pytest.mark.usefixtures("each_write")


def certificate(folder: Path, *, name: str) -> dict[str, str]:
    """A new pair for `name`, in place of the one before; the `tls` keys that point to it."""
    cert, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return {"certFile": str(cert), "keyFile": str(key)}


def trusting_anyone() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def test_requests_come_in_over_tls(tmp_path: Path) -> None:
    async with stage(server={"tls": certificate(tmp_path, name="a.example")}) as s:
        client = await s.connect(tls=trusting_anyone())
        body = bytes(range(256)) * 4000
        client.send(request(method="POST", body=body))
        reply = await client.reply()
        tls = client.writer.get_extra_info("ssl_object")

        assert reply.body == b"hello"
        assert tls.selected_alpn_protocol() == "http/1.1"
        heard = s.replica.requests[0]
        assert bytes(heard.body) == body
        assert heard.get("x-forwarded-proto") == b"https"


async def test_a_new_certificate_holds_for_new_connections(tmp_path: Path) -> None:
    async with stage(server={"tls": certificate(tmp_path, name="a.example")}) as s:
        first = await s.connect(tls=trusting_anyone())
        before = first.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        certificate(tmp_path, name="b.example")
        s.app.reloading.poke()
        await eventually(lambda: "certificate_changed" in [e.action for e in s.app.events.since(0)])
        second = await s.connect(tls=trusting_anyone())
        after = second.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

        assert before != after
        for client in (first, second):
            client.send(request())
            assert (await client.reply()).status == 200


async def test_an_unusable_certificate_changes_nothing(tmp_path: Path) -> None:
    async with stage(server={"tls": certificate(tmp_path, name="a.example")}) as s:
        (tmp_path / "tls.crt").write_text("not a certificate")
        s.app.reloading.poke()
        await eventually(lambda: "certificate_refused" in [e.action for e in s.app.events.since(0)])

        client = await s.connect(tls=trusting_anyone())
        client.send(request())
        assert (await client.reply()).status == 200


async def test_a_client_that_leaves_while_held_is_noticed_over_tls_too(tmp_path: Path) -> None:
    tls = certificate(tmp_path, name="a.example")
    async with stage(ready=False, server={"tls": tls}, queue={"bufferBytes": "1KiB"}) as s:
        whole = await s.connect(tls=trusting_anyone())
        whole.send(request(method="POST", body=b"x"))
        large = await s.connect(tls=trusting_anyone())
        large.send(request(method="POST", body=b"x" * 5000))
        await s.until_in_line(2)

        whole.reset()
        large.reset()

        await s.until_held(0, within=1.0)
        await s.replica.start()
        await s.until_warm()
        assert s.replica.requests == []


async def test_a_cut_answer_is_cut_over_tls_too(tmp_path: Path) -> None:
    async def behave(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await talk.drain()
        await seen.wait()
        talk.reset()

    seen = asyncio.Event()
    async with stage(behave, server={"tls": certificate(tmp_path, name="a.example")}) as s:
        client = await s.connect(tls=trusting_anyone())
        client.send(request())
        await client.head()
        await client.exactly(4)
        seen.set()

        with pytest.raises((Cut, ssl.SSLError)):
            await client.rest()


async def test_plain_http_at_a_tls_port_is_no_request(tmp_path: Path) -> None:
    async with stage(server={"tls": certificate(tmp_path, name="a.example")}) as s:
        client = await s.send(request())

        assert await client.ended() in ("eof", "reset")
        assert s.replica.requests == []


LARGE = 24 << 20
"""Bytes: more than the buffers on the way take."""


async def large(talk: Talk) -> None:
    await talk.answer(200, bytes(LARGE))


async def test_whoever_reads_the_end_of_an_answer_slowly_gets_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncio.constants.SSL_SHUTDOWN_TIMEOUT", 0.05)
    async with stage(large, server={"tls": certificate(tmp_path, name="a.example")}) as s:
        client = await s.connect(tls=trusting_anyone())
        # little lies between the two
        client.writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_RCVBUF, 64 << 10)
        client.send(request(headers={"Connection": "close"}))
        await client.head()
        read = 0
        while s.live.gate.in_flight:  # the rest of it is on its way, and the end behind it
            read += len(await client.exactly(1 << 16))
        await asyncio.sleep(0.2)  # of its own, TLS would have ended by now
        assert len(await client.exactly(LARGE - read)) == LARGE - read


async def test_who_does_not_answer_a_goodbye_does_not_keep_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(farewell, "GOODBYE", 0.05)
    async with stage(server={"tls": certificate(tmp_path, name="a.example")}) as s:
        client = await s.connect(tls=trusting_anyone())
        client.send(request())
        await client.reply()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]

        async with asyncio.timeout(5.0):
            await s.stop(grace=30.0)
        client.reset()
