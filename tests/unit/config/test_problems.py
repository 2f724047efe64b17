"""What is said about a mistake, where, and that all of them are said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.config.problems import nearest, spelled
from tests.unit.config.support import MINIMAL, endpoint, problems_of

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 4
"""The line of the first further key in `endpoint`, less one."""


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("concurency: 3", "concurency: unknown key; did you mean `concurrency`?"),
        ("strip_prefix: true", "strip_prefix: unknown key; did you mean `stripPrefix`?"),
        ("idleTimeout: 3", "idleTimeout: unknown key here; `idleTimeout` belongs under `scale`"),
        ("scale: {idletimeout: 3}", "scale.idletimeout: unknown key; did you mean `idleTimeout`?"),
        (
            "affinity: {zzz: 1}",
            "affinity.zzz: unknown key; known here: header",
        ),
        ("concurrency: -1", "concurrency: must be at least 0"),
        ("concurrency: '8'", "concurrency: must be a whole number"),
        ("concurrency: 1.5", "concurrency: must be a whole number"),
        ("stripPrefix: yes", "stripPrefix: must be true or false"),
        ("costPerReplicaHour: much", "costPerReplicaHour: must be a number"),
        ("balance: least", "balance: must be one of least_loaded, first_available, round_robin,"),
        ("balance: round_robbin", "did you mean `round_robin`?"),
        ("dialect: openapi", "dialect: must be one of plain, openai; did you mean `openai`?"),
        ("scale: 5", "scale: must be a mapping of keys to values"),
        ("scale: {max: 0}", "scale.max: must be at least 1"),
        ("scale: {targetConcurrency: 0}", "scale.targetConcurrency: must be more than 0"),
        ("scale: {startTimeout: 0}", "scale.startTimeout: must be more than 0"),
        ("queue: {bestUrgency: 8}", "queue.bestUrgency: must be at most 7"),
        ("queue: {maxBytes: 5 potatoes}", "queue.maxBytes: '5 potatoes' is not a size"),
        ("queue: {timeout: tomorrow}", "queue.timeout: 'tomorrow' is not a duration"),
        ("match: {hosts: a.test}", "match.hosts: must be a list, like [a, b]"),
        ("match: {hosts: [5]}", "match.hosts[0]: must be text; put it in quotes"),
        ("match: {hosts: [a.test:80]}", "match.hosts[0]: hosts are matched without their port"),
        ("match: {hosts: ['a.*.test']}", "match.hosts[0]: a `*` can only be the whole first label"),
        ("match: {hosts: ['bücher.test']}", "match.hosts[0]: write a host in its ASCII form"),
        ("match: {hosts: ['']}", "match.hosts[0]: a host cannot be empty"),
        ("match: {hosts: ['a b']}", "match.hosts[0]: the host is not a valid name"),
        ("match: {paths: [v1]}", "match.paths[0]: a path begins with `/`"),
        ("match: {paths: [/a%2Fb]}", "match.paths[0]: the path has an escaped character"),
        ("match: {paths: [/.activator/x]}", "match.paths[0]: `/.activator/` is reserved"),
        ("match: {paths: ['/a?b=c']}", "match.paths[0]: a path has no query here"),
        ("match: {headers: {x: 1}}", "match.headers.x: must be text; put it in quotes"),
        ("match: {headers: {'x y': a}}", "match.headers.x y: 'x y' is not a header's name"),
        ("probe: {port: 0}", "probe.port: must be at least 1"),
        ("probe: {path: health}", "probe.path: must begin with `/`"),
        ("blockPaths: [/]", "blockPaths[0]: blocking `/` would block everything"),
        ("neverWake: [{path: /x, status: 99}]", "neverWake[0].status: must be at least 200"),
        ("neverWake: [{status: 200}]", "neverWake[0].path: is required"),
        ("timeouts: {connect: '${X}'}", "`${…}` is only filled in where a secret belongs"),
    ],
)
def test_a_mistake_is_told_with_line_key_and_hint(tmp_path: Path, keys: str, said: str) -> None:
    (problem,) = problems_of(tmp_path, endpoint(keys))
    assert problem.startswith(f"{HEAD + 1}: endpoints[0].")
    assert said in problem


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("proces", "backend: `type` must be one of process, static, kubernetes, docker; did you"),
        ('process, comand: ["{port}"], command: ["{port}"]', "comand: unknown key; did you mean"),
        ("process", "backend.command: is required"),
        ("process, command: []", "backend.command: must not be empty"),
        ("process, command: serve", "backend.command: must be a list, like [a, b]"),
        ("process, command: ['{port}', true]", "backend.command[1]: must be text; put it in"),
        ("process, command: ['{port}'], env: {A: true}", "backend.env.A: must be text; put it"),
        ("static, urls: []", "backend.urls: must not be empty"),
        ("static, urls: ['https://x']", "urls[0]: https towards replicas is not supported yet"),
        ("static, urls: ['http://x/v1']", "urls[0]: only http://host:port"),
        ("static, urls: ['http://u:p@x']", "urls[0]: only http://host:port"),
        ("static, urls: ['x:80']", "urls[0]: must be a URL like"),
        ("static, urls: ['http://x:0']", "urls[0]: nothing can be reached at port 0"),
        ("static, urls: ['http://x:99999']", "urls[0]: the host's port"),
    ],
)
def test_a_backend_is_told_what_it_lacks(tmp_path: Path, backend: str, said: str) -> None:
    (problem,) = problems_of(tmp_path, endpoint("", backend=backend))
    assert problem.startswith("4: endpoints[0].backend")
    assert said in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (MINIMAL + "servers: {}\n", "4: servers: unknown key; did you mean `server`?"),
        (MINIMAL + "listen: 1\n", "4: listen: unknown key here; `listen` belongs under `server`"),
        ("endpoints: {a: 1}\n", "1: endpoints: must be a list of endpoints"),
        ("endpoints: [a]\n", "1: endpoints[0]: must be a mapping of keys to values"),
        (
            "endpoints: [{name: a}]\n",
            "1: endpoints[0].backend: is required",
        ),
        ("defaults: 5\n" + MINIMAL, "1: defaults: must be a mapping of keys to values"),
        ("defaults: {name: x}\n" + MINIMAL, "1: defaults.name: unknown key"),
        (
            "endpoints: [{name: a, backend: {command: [x]}}]\n",
            "1: endpoints[0].backend: `type` is required: process or static",
        ),
    ],
)
def test_the_frame_of_the_file_is_checked(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = problems_of(tmp_path, text)
    assert found.startswith(problem)


@pytest.mark.parametrize("name", ["A", "-a", "a-", "a_b", "", "a" * 64, "a b", ".a"])
def test_names_are_labels(tmp_path: Path, name: str) -> None:
    text = MINIMAL.replace("name: a", f"name: {name!r}")
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith("2: endpoints[0].name: a name is 1 to 63")


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file(
    tmp_path: Path,
) -> None:
    text = """\
server:
  drainDelay: 5 seconds
  limits: {headerz: 3}
jobs: {attempts: 0}
defaults:
  fallback: {keyFile: k}
  scale: {idleTimeout: long}
endpoints:
  - name: A
    backend: {type: static, urls: ["https://x"]}
  - name: b
    backend: {type: docker}
    concurrency: many
  - name: b
    backend: {type: process, command: [x]}
    name: c
"""
    assert [line.split(": ")[:2] for line in problems_of(tmp_path, text)] == [
        ["2", "server.drainDelay"],
        ["3", "server.limits.headerz"],
        ["4", "jobs.attempts"],
        ["6", "defaults.fallback"],
        ["7", "defaults.scale.idleTimeout"],
        ["9", "endpoints[0].name"],
        ["10", "endpoints[0].backend.urls[0]"],
        ["12", "endpoints[1].backend"],
        ["13", "endpoints[1].concurrency"],
        ["14", "endpoints[2].name"],
        ["15", "endpoints[2].backend.command"],
        ["16", "endpoints[2].name"],
    ]


def test_the_same_mistake_twice_on_one_line_is_told_twice(tmp_path: Path) -> None:
    text = "server: {limits: {headTimeout: 0, bodyIdle: 0}}\n" + MINIMAL
    problems = problems_of(tmp_path, text)
    assert problems == [
        "1: server.limits.headTimeout: must be more than 0",
        "1: server.limits.bodyIdle: must be more than 0",
    ]


def test_a_mistake_in_defaults_is_told_once_where_it_stands(tmp_path: Path) -> None:
    text = "defaults: {concurrency: many}\n" + MINIMAL + MINIMAL.removeprefix("endpoints:\n")
    problems = [line for line in problems_of(tmp_path, text) if "concurrency" in line]
    assert problems == ["1: defaults.concurrency: must be a whole number"]


def test_a_secret_that_is_written_down_is_refused_and_not_repeated(tmp_path: Path) -> None:
    text = 'webhooks: {secret: hush}\nstore: {url: "redis://:hush@store"}\n' + MINIMAL
    problems = problems_of(tmp_path, text)
    assert (
        "1: webhooks.secret: a secret is never written here: use ${NAME} or file:PATH" in problems
    )
    assert any("a password is never written here" in line for line in problems)
    assert not any("hush" in line for line in problems)


def test_places_are_spelled_as_in_the_file() -> None:
    assert spelled(("endpoints", 0, "scale", "min")) == "endpoints[0].scale.min"
    assert spelled(()) == ""


def test_the_nearest_word_is_found_whatever_its_case_and_joints() -> None:
    known = ["idleTimeout", "startTimeout", "min"]
    assert nearest("IDLE_TIMEOUT", known) == "idleTimeout"
    assert nearest("start-timout", known) == "startTimeout"
    assert nearest("elephant", known) is None
