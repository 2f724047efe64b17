"""Plain reverse proxies: nginx, haproxy, Go's. Each on one core, connections kept alive on both
sides, the forwarding fields that the activator sets, no log. They neither hold nor start anything.
nginx once more with a log of requests, as the activator writes one.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bench import golang
from bench.contestant import Contestant
from bench.contestants.peer import Peer
from bench.processes import LOOPBACK, free_port, started, wait_until_listening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.lab import Lab
    from bench.processes import Address

CONNECTIONS: Final = 16_384
"""Of nginx's worker, on both sides together."""
KEPT: Final = 1024
"""Connections to the upstream that may rest."""
HOST: Final = "model"
"""Of the requests: a proxy's name need not be a host's."""
LOG: Final = "nginx-requests.log"
LINE: Final = (
    "$time_iso8601 INFO    requests request request_id=$request_id endpoint=$host "
    "method=$request_method path=$uri status=$status cold=False held=0 seconds=$request_time "
    "bytes_in=$request_length bytes_out=$body_bytes_sent replica=$upstream_addr attempts=1 "
    "remote=$remote_addr"
)
"""What the activator says of a request, in nginx's words."""


@contextmanager
def nginx(lab: Lab, upstream: Address) -> Iterator[Contestant | None]:
    """One worker, nothing buffered to disk. None if it is not installed."""
    with _nginx("nginx", lab, upstream) as contestant:
        yield contestant


@contextmanager
def nginx_with_lines(lab: Lab, upstream: Address) -> Iterator[Contestant | None]:
    """The same with a line for each request, which says what the activator's says; written many
    together, as the activator's are (unbuffered, as nginx writes them unless told otherwise,
    each would be one more system call)."""
    with _nginx(NGINX_LINES.name, lab, upstream, lines=lab.folder / LOG) as contestant:
        yield contestant


@contextmanager
def _nginx(
    name: str, lab: Lab, upstream: Address, *, lines: Path | None = None
) -> Iterator[Contestant | None]:
    program = shutil.which("nginx")
    if program is None:
        yield None
        return
    port = free_port()
    file = lab.folder / f"nginx-{port}.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    file.write_text(
        nginx_configuration(lab.folder, upstream, port=port, user=user, lines=lines),
        encoding="utf-8",
    )
    command = [program, "-e", "stderr", "-p", str(lab.folder), "-c", str(file)]
    with _listening(name, lab, command, port=port) as contestant:
        yield contestant


@contextmanager
def haproxy(lab: Lab, upstream: Address) -> Iterator[Contestant | None]:
    """One thread. None if it is not installed."""
    program = shutil.which("haproxy")
    if program is None:
        yield None
        return
    port = free_port()
    file = lab.folder / f"haproxy-{port}.cfg"
    file.write_text(haproxy_configuration(upstream, port=port), encoding="utf-8")
    with _listening("haproxy", lab, [program, "-db", "-f", str(file)], port=port) as contestant:
        yield contestant


@contextmanager
def go(lab: Lab, upstream: Address) -> Iterator[Contestant | None]:
    """`httputil.ReverseProxy` (bench/reverseproxy) on one thread. None without Go."""
    program = golang.built("reverseproxy")
    if program is None:
        yield None
        return
    port, (host, upstream_port) = free_port(), upstream
    command = [
        *(str(program), "-listen", f"{LOOPBACK}:{port}"),
        *("-to", f"http://{host}:{upstream_port}"),
    ]
    with _listening("go", lab, command, port=port, environment={"GOMAXPROCS": "1"}) as contestant:
        yield contestant


NGINX: Final = Peer("nginx", nginx, "apt install nginx")
HAPROXY: Final = Peer("haproxy", haproxy, "apt install haproxy")
GO: Final = Peer("go", go, "apt install golang-go, or go.dev/dl")
NGINX_LINES: Final = Peer("nginx, lines", nginx_with_lines, "apt install nginx")
PLAIN: Final = (NGINX, HAPROXY, GO)


@contextmanager
def _listening(
    name: str,
    lab: Lab,
    command: Sequence[str],
    *,
    port: int,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Contestant]:
    log = lab.folder / f"{name}-{port}.log"
    core = lab.cores.contestant
    with started(command, core=core, log=log, environment=environment) as running:
        wait_until_listening(port, by=running)
        yield Contestant(name, (LOOPBACK, port), HOST, running)


def haproxy_configuration(upstream: Address, *, port: int) -> str:
    """As many connections as the process may have files (without `maxconn`); any request may take
    any resting connection to the upstream (`http-reuse always`), as nginx's do; what comes is
    passed on at once (`http-no-delay`: a token would wait up to 200 ms for the next one)."""
    host, upstream_port = upstream
    return f"""
global
  nbthread 1
defaults
  mode http
  option http-keep-alive
  option http-no-delay
  timeout connect 5s
  timeout client 10m
  timeout server 10m
  timeout http-keep-alive 10m
frontend clients
  bind {LOOPBACK}:{port} backlog 4096
  option forwardfor
  http-request set-header X-Request-Id %[uuid()]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  default_backend model
backend model
  http-reuse always
  server model {host}:{upstream_port} pool-max-conn {KEPT} pool-purge-delay 10m
"""


def nginx_configuration(
    folder: Path, upstream: Address, *, port: int, user: str = "", lines: Path | None = None
) -> str:
    """`lines`: where it writes one for each request; None: nowhere."""
    host, upstream_port = upstream
    log = "access_log off;"
    if lines is not None:
        log = f"log_format line '{LINE}';\n"
        log += f"  access_log {lines} line buffer=64k flush=1s;"
    temporary = "\n".join(
        f"  {name}_temp_path {folder / f'nginx-{port}'}-{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx-{port}.pid;
error_log stderr warn;
worker_rlimit_nofile 20000;
events {{ worker_connections {CONNECTIONS}; }}
http {{
  {log}
{temporary}
  client_max_body_size 0;
  keepalive_requests 1000000000;
  upstream model {{
    server {host}:{upstream_port};
    keepalive {KEPT};
    keepalive_requests 1000000000;
  }}
  server {{
    listen {LOOPBACK}:{port} backlog=4096;
    location / {{
      proxy_pass http://model;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      proxy_request_buffering off;
      proxy_buffering off;
    }}
  }}
}}
"""
