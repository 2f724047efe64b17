"""The proxies that are measured, each a context manager: started, answering, ended afterwards.

Lives here: how each is configured, and who is left out because it is not installed. Does not live
here: what is measured (`bench.benchmarks`).
"""

from __future__ import annotations

from bench.contestants.ours import (
    LIMIT,
    NO_LINES,
    READY_WITHIN,
    Activator,
    activator,
    over_every_store,
    static,
)
from bench.contestants.peer import Peer, enter
from bench.contestants.plain import GO, HAPROXY, NGINX, NGINX_LINES, PLAIN, go, haproxy, nginx
from bench.contestants.routers import ROUTERS

__all__ = [
    "GO",
    "HAPROXY",
    "LIMIT",
    "NGINX",
    "NGINX_LINES",
    "NO_LINES",
    "PLAIN",
    "READY_WITHIN",
    "ROUTERS",
    "Activator",
    "Peer",
    "activator",
    "enter",
    "go",
    "haproxy",
    "nginx",
    "over_every_store",
    "static",
]
