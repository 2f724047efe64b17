"""The proxies that the activator is measured beside, as they are configured for it: what each does
with a request is what the activator does, so that their figures compare."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from bench import chat, contestants, wrk
from bench.contestant import Contestant
from bench.contestants import Peer
from bench.contestants.plain import LOG
from bench.failure import BenchError
from bench.lab import Lab
from bench.machine import Cores
from bench.redis_server import redis_server
from bench.round_trips import round_trips
from bench.size import Size
from bench.steady import steady
from tests.redis_server import executable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.processes import Address, Running


class Seen:
    """What reached the model server: of each request its target, its fields (names in lower case)
    and the port that it came from."""

    def __init__(self) -> None:
        self.targets: list[str] = []
        self.fields: list[dict[str, str]] = []
        self.ports: list[int] = []


@contextmanager
def model_server() -> Iterator[tuple[Address, Seen]]:
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.targets.append(self.path)
            seen.fields.append({name.lower(): value for name, value in self.headers.items()})
            seen.ports.append(self.client_address[1])
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Said nowhere."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield ("127.0.0.1", server.server_address[1]), seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(cores=Cores.choose(), size=Size.SMOKE, folder=tmp_path)


def ask_twice(contestant: Contestant) -> list[bytes]:
    """On one connection; HTTPConnection would make another one where that was closed, so its
    socket is looked at."""
    connection = HTTPConnection(*contestant.address, timeout=10.0)
    bodies = []
    for _ in range(2):
        connection.request("GET", "/small", headers={"Host": contestant.host})
        bodies.append(connection.getresponse().read())
        assert connection.sock is not None, "closed after one answer"
    connection.close()
    return bodies


def assert_proxied_like_the_activator(contestant: Contestant, seen: Seen) -> None:
    assert ask_twice(contestant) == [b"ok", b"ok"]
    first, second = seen.fields
    assert first["host"] == contestant.host
    assert first["x-forwarded-for"] == "127.0.0.1"
    assert first["x-forwarded-proto"] == "http"
    assert first["x-forwarded-host"] == contestant.host
    assert len(first["x-request-id"]) >= 32
    assert first["x-request-id"] != second["x-request-id"]
    assert len(set(seen.ports)) == 1, "the connection to the model server was not kept"


@pytest.mark.parametrize(
    "peer", [*contestants.PLAIN, contestants.NGINX_LINES], ids=lambda peer: str(peer.name)
)
def test_a_plain_proxy_forwards_the_same_fields_and_keeps_connections_on_both_sides(
    peer: Peer, lab: Lab
) -> None:
    with model_server() as (upstream, seen), peer.start(lab, upstream) as contestant:
        if contestant is None:
            pytest.skip(f"no {peer.name} here ({peer.comes_with})")
        assert contestant.name == peer.name
        assert_proxied_like_the_activator(contestant, seen)


def fields(line: str) -> dict[str, str]:
    """Of a line in a log, in order."""
    return dict(re.findall(r" (\w+)=(\S+)", line))


def test_nginx_with_lines_says_of_each_request_what_the_activator_says(lab: Lab) -> None:
    with model_server() as (upstream, _):
        with contestants.NGINX_LINES.start(lab, upstream) as theirs:
            if theirs is None:
                pytest.skip(f"no nginx here ({contestants.NGINX_LINES.comes_with})")
            ask_twice(theirs)
        with contestants.activator(lab, [contestants.static("m", upstream)]) as activator:
            activator.wait_for("m", within=10.0, state="active")
            ask_twice(activator.contestant("activator", host="m"))
    said = [fields(line) for line in (lab.folder / LOG).read_text("utf-8").splitlines()]
    (log,) = lab.folder.glob("activator-*.log")
    ours = [fields(line) for line in log.read_text("utf-8").splitlines() if "/small" in line]

    assert len(said) == len(ours) == 2
    assert list(said[0]) == list(ours[0])
    same = ("method", "path", "status", "cold", "held", "attempts", "bytes_out", "remote")
    for theirs_said, ours_said in zip(said, ours, strict=True):
        assert [theirs_said[name] for name in same] == [ours_said[name] for name in same]
    assert said[0]["request_id"] != said[1]["request_id"]


def test_the_activator_sets_these_fields_too(lab: Lab) -> None:
    with (
        model_server() as (upstream, seen),
        contestants.activator(lab, [contestants.static("m", upstream)]) as activator,
    ):
        activator.wait_for("m", within=10.0, state="active")
        seen.fields.clear()  # probes
        seen.ports.clear()
        assert_proxied_like_the_activator(activator.contestant("activator", host="m"), seen)


def at(address: Address) -> Contestant:
    """The model server itself; nobody asks what it costs but of this process."""
    nobody = cast("Running", SimpleNamespace(cpu_seconds=time.process_time))
    return Contestant("direct", address, "direct", nobody)


def test_varied_requests_have_each_a_head_of_their_own_and_others_are_all_alike() -> None:
    if not wrk.installed():
        pytest.skip("no wrk here (apt install wrk)")
    with model_server() as (address, seen):
        varied = wrk.burst(at(address), path="/small", connections=2, seconds=1, varied=True)
        traces = [fields["traceparent"] for fields in seen.fields]
        seen.targets.clear()
        wrk.burst(at(address), path="/small", connections=2, seconds=1)

    assert len(traces) >= varied.requests
    assert len(set(traces)) == len(traces)
    assert set(seen.targets) == {"/small"}


def test_at_a_steady_rate_no_request_is_like_another() -> None:
    with model_server() as (address, seen):
        steady(at(address), path="/small", rate=200.0, seconds=0.2)

    assert len(set(seen.targets)) == len(seen.targets) == 40


def test_who_is_not_installed_is_left_out_and_named(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with ExitStack() as stack:
        field, notes = contestants.enter(stack, lab, ("127.0.0.1", 1), contestants.PLAIN)

    assert field == []
    assert notes == [
        "left out: no nginx here (apt install nginx)",
        "left out: no haproxy here (apt install haproxy)",
        "left out: no go here (apt install golang-go, or go.dev/dl)",
    ]


def test_who_does_not_start_is_left_out_with_its_reason(lab: Lab) -> None:
    @contextmanager
    def broken(_lab: Lab, _upstream: Address) -> Iterator[Contestant | None]:
        raise BenchError("no such flag")
        yield None

    with ExitStack() as stack:
        field, notes = contestants.enter(stack, lab, ("127.0.0.1", 1), [Peer("x", broken, "y")])

    assert (field, notes) == ([], ["left out: x does not run here: no such flag"])


@pytest.mark.parametrize("router", contestants.ROUTERS, ids=lambda router: str(router.name))
def test_a_router_passes_a_chat_on_to_the_plain_server(router: Peer, lab: Lab) -> None:
    """As far as it is installed."""
    with lab.upstream() as upstream, router.start(lab, upstream) as contestant:
        if contestant is None:
            pytest.skip(f"no {router.name} here ({router.comes_with})")
        assert ask_chat(contestant) == json.loads(chat.completion())["choices"]


def ask_chat(contestant: Contestant) -> object:
    connection = HTTPConnection(*contestant.address, timeout=60.0)
    fields = {"Host": contestant.host, "Content-Type": "application/json"}
    connection.request("POST", chat.PATH, chat.request(), fields)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    assert answer.status == 200, said
    return [
        {**each, "message": {key: each["message"][key] for key in ("role", "content")}}
        for each in (
            {k: one[k] for k in ("index", "message", "finish_reason")}
            for one in json.loads(said)["choices"]
        )
    ]


def test_over_redis_the_limit_is_counted_there_and_without_one_nothing_is(lab: Lab) -> None:
    executable()
    with lab.upstream() as upstream, ExitStack() as stack:
        field, notes = contestants.over_every_store(
            stack, lab, upstream, dialect="openai", models=[chat.MODEL]
        )

        assert [each.name for each in field] == [
            "activator",
            "activator, limited",
            "activator, Redis",
            "activator, Redis, limited",
            "activator, no lines",
        ]
        assert notes == []
        (log,) = lab.folder.glob("redis-*.log")
        redis = ("127.0.0.1", int(log.stem.removeprefix("redis-")))
        counted = {}
        for each in field:
            before = scripts_run(redis)
            for _ in range(50):
                ask_chat(each)
            counted[each.name] = scripts_run(redis) - before
        # a slot in plenty is kept for the next request: what Redis has of the endpoint tells
        assert (slots_at(redis, "limited"), slots_at(redis, "unlimited")) == (1, 0)
        assert counted["activator, Redis, limited"] > 0
        assert counted["activator, Redis"] < 50
        lines = [log.read_text().count(" requests ") for log in lab.folder.glob("activator-*.log")]
        assert sorted(bool(each) for each in lines) == [False, True, True]
        assert counted["activator, limited"] < 50


def slots_at(redis: Address, endpoint: str) -> int:
    """Endpoints of this name whose slots are counted there."""
    said = answer_of(redis, b"KEYS *{%b}:slots:state\r\n" % endpoint.encode(), ending=b"\r\n")
    return int(said[1 : said.index(b"\r\n")])


def answer_of(redis: Address, command: bytes, *, ending: bytes) -> bytes:
    with socket.create_connection(redis, timeout=10.0) as connection:
        connection.sendall(command)
        said = b""
        while not said.endswith(ending) and (came := connection.recv(65536)):
            said += came
    return said


def scripts_run(redis: Address) -> int:
    """So far; activators run some as time goes by, too."""
    said = answer_of(redis, b"INFO commandstats\r\n", ending=b"\r\n\r\n")
    return sum(
        int(calls) for calls in re.findall(rb"cmdstat_(?:eval|evalsha|fcall):calls=(\d+)", said)
    )


def test_the_bare_round_trip_is_one_answer_each(lab: Lab) -> None:
    executable()
    with redis_server(lab) as url:
        taken = round_trips(("127.0.0.1", int(url.rpartition(":")[2])), rate=500.0, seconds=0.1)

    assert len(taken) == 50
    assert min(taken) > 0
