"""The activator as a process: started with a configuration, answering, and ended afterwards."""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final

import yaml

from bench import redis_server
from bench.contestant import Contestant
from bench.failure import BenchError
from bench.processes import (
    LOOPBACK,
    free_port,
    started,
    wait_until_listening,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from bench.lab import Lab
    from bench.processes import Address, Running

READY_WITHIN = 30.0
ADMIN_PATIENCE = 30.0
"""Seconds for one answer of the admin port: a busy activator answers late, not never."""


class Activator:
    """An activator that runs, and its admin port."""

    def __init__(
        self,
        running: Running,
        *,
        port: int,
        admin_port: int,
        began: float,
        file: Path,
        configuration: Mapping[str, Any],
    ) -> None:
        self.running = running
        self._began = began
        self.address: Address = (LOOPBACK, port)
        self._admin_port = admin_port
        self._file = file
        self._configuration = configuration

    def contestant(self, name: str, *, host: str) -> Contestant:
        return Contestant(name, self.address, host, self.running, is_ours=True)

    def age(self) -> float:
        """Seconds since it was executed."""
        return time.monotonic() - self._began

    def wait_until_ready(self, *, within: float) -> None:
        """Until it says so itself. Raises BenchError if it never does."""
        until = time.monotonic() + within
        while True:
            try:
                self._ask("GET", "/readyz")
            except BenchError:
                if time.monotonic() > until:
                    raise
                self.running.check()
                time.sleep(0.005)
            else:
                return

    def metrics(self) -> bytes:
        return self.get("/metrics")

    def get(self, path: str) -> bytes:
        """What the admin port answers. Raises BenchError."""
        return self._ask("GET", path)

    def reconfigure(self, endpoints: Sequence[Mapping[str, Any]]) -> None:
        """Its file names these from now on; it looks once a second."""
        _write(self._file, {**self._configuration, "endpoints": list(endpoints)})

    def endpoint(self, name: str) -> dict[str, Any]:
        """What the admin port says of it."""
        status: dict[str, Any] = self._call("GET", f"/api/endpoints/{name}")
        return status

    def order(self, name: str, verb: str) -> None:
        """`activate`, `deactivate`, `pause`, `resume`."""
        self._call("POST", f"/api/endpoints/{name}/{verb}")

    def deactivate(self, name: str) -> None:
        self.order(name, "deactivate")

    def jobs(self, name: str) -> dict[str, int]:
        """State → how many, as its metrics tell."""
        pattern = rf'^activator_jobs{{endpoint="{name}",state="(\w+)"}} (\S+)$'
        found = re.findall(pattern, self.metrics().decode(), re.MULTILINE)
        return {state: int(float(count)) for state, count in found}

    def wait_for(self, name: str, *, within: float, **wanted: object) -> None:
        """Until the endpoint's status has these values. Raises BenchError if it never has."""
        until = time.monotonic() + within
        while True:
            status = self.endpoint(name)
            if all(status[key] == value for key, value in wanted.items()):
                return
            if time.monotonic() > until:
                seen = {key: status[key] for key in wanted}
                raise BenchError(f"endpoint {name}: {seen} after {within:g} s, wanted {wanted}")
            self.running.check()
            time.sleep(0.01)

    def _call(self, method: str, path: str) -> Any:
        said = self._ask(method, path)
        return json.loads(said) if said else None

    def _ask(self, method: str, path: str) -> bytes:
        connection = HTTPConnection(LOOPBACK, self._admin_port, timeout=ADMIN_PATIENCE)
        try:
            body = b"{}" if method == "POST" else None
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except OSError as error:
            raise BenchError(f"the admin port does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise BenchError(f"{method} {path}: {answer.status} {said.decode()}")
        return said


@contextmanager
def activator(
    lab: Lab,
    endpoints: Sequence[Mapping[str, Any]],
    *,
    lags: Path | None = None,
    has_lines: bool = True,
    **sections: Mapping[str, Any],
) -> Iterator[Activator]:
    """`activator serve` with these endpoints and other sections of its configuration file.
    `lags`: where it notes how late its loop is. `has_lines`: it logs requests, as it does unless
    told otherwise."""
    port, admin_port = free_port(), free_port()
    configuration = {
        "server": {
            "listen": f"{LOOPBACK}:{port}",
            "admin": f"{LOOPBACK}:{admin_port}",
            "drainDelay": 0,
            "shutdownGrace": "1s",
        },
        "endpoints": list(endpoints),
        **sections,
    }
    file = lab.folder / f"activator-{port}.yaml"
    _write(file, configuration)
    log = lab.folder / f"activator-{port}.log"
    module = ["activator", "serve", "-c", str(file)]
    if lags is not None:
        module = ["bench.lagging", "--config", str(file), "--notes", str(lags)]
    elif not has_lines:
        module += ["--log-level", "warning"]
    command = [lab.interpreter, "-m", *module]
    began = time.monotonic()
    with started(command, core=lab.cores.contestant, log=log) as running:
        wait_until_listening(port, by=running)
        yield Activator(
            running,
            port=port,
            admin_port=admin_port,
            began=began,
            file=file,
            configuration=configuration,
        )


def _write(file: Path, configuration: Mapping[str, Any]) -> None:
    """In one step: it may be read at any moment."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # a dozen times faster than the other
    written = file.with_suffix(".new")
    written.write_text(yaml.dump(dict(configuration), Dumper=dumper), encoding="utf-8")
    written.replace(file)


def static(name: str, upstream: Address, **keys: object) -> dict[str, object]:
    """An endpoint with a server that somebody else runs, found by its own name as host."""
    host, port = upstream
    return {
        "name": name,
        "match": {"hosts": [name]},
        "backend": {"type": "static", "urls": [f"http://{host}:{port}"]},
        **keys,
    }


NO_LINES: Final = "activator, no lines"
"""The peers log no requests; the activator does, unless told otherwise."""
LIMIT: Final = 4096
"""Concurrency of limited endpoints: beyond any connections here, so that slots are counted and
nobody waits."""


def over_every_store(
    stack: ExitStack,
    lab: Lab,
    upstream: Address,
    *,
    models: Sequence[str] = (),
    **keys: object,
) -> tuple[list[Contestant], list[str]]:
    """The activator with its store in memory and in Redis, each with an endpoint without and one
    with a limit, `keys` in both, and one that logs no requests, as the peers; and a note if there
    is no Redis. All are ready. `models`: they are found by the body's model, too."""
    stores: dict[str, dict[str, Any]] = {"activator": {}}
    left_out = ["left out: no redis-server here (apt install redis-server)"]
    if redis_server.installed():
        url = stack.enter_context(redis_server.redis_server(lab))
        stores["activator, Redis"] = {"store": {"url": url}}
        left_out = []
    field: list[Contestant] = []
    for name, sections in (*stores.items(), (NO_LINES, {})):
        endpoints = [
            static("unlimited", upstream, **keys),
            static("limited", upstream, concurrency=LIMIT, **keys),
        ]
        if models:
            for each in endpoints:
                each["match"] = {"hosts": [each["name"]], "models": list(models)}
        has_lines = name != NO_LINES
        made = activator(lab, endpoints, has_lines=has_lines, **sections)
        running = stack.enter_context(made)
        for host in ("unlimited", "limited"):
            running.wait_for(host, within=READY_WITHIN, state="active")
        field.append(running.contestant(name, host="unlimited"))
        if has_lines:
            field.append(running.contestant(f"{name}, limited", host="limited"))
    return field, left_out
