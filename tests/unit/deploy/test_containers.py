"""The image and the compose file: as read by their own formats, and fitting together.

That they work was seen with an engine (docs/docker.md says how); no engine is needed here.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from activator.cli.arguments import parse
from activator.config.settings import load
from activator.core.endpoint import DockerBackend

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "deploy" / "compose"
EXACT = re.compile(r"[\w./-]+:\d+(\.\d+)+[\w.-]*")
"""An image with a version that names a patch, or at least a minor."""


@pytest.fixture
def dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments) in order; continued lines joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


@pytest.fixture
def compose() -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))
    return told


def arguments(dockerfile: list[tuple[str, str]], instruction: str) -> list[str]:
    return [told for name, told in dockerfile if name == instruction]


def test_the_base_is_pinned_and_the_same_in_both_stages(dockerfile: list[tuple[str, str]]) -> None:
    base = dict(each.split("=", 1) for each in arguments(dockerfile, "ARG") if "=" in each)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", base["PYTHON"])
    assert arguments(dockerfile, "FROM") == ["${PYTHON} AS build", "${PYTHON}"]


def test_it_does_not_run_as_root(dockerfile: list[tuple[str, str]]) -> None:
    user, _, group = arguments(dockerfile, "USER")[-1].partition(":")
    assert user.isdecimal()
    assert group.isdecimal()
    assert int(user) > 0


def test_it_runs_the_command_line_as_it_is(dockerfile: list[tuple[str, str]]) -> None:
    assert json.loads(arguments(dockerfile, "ENTRYPOINT")[0]) == ["activator"]
    command = json.loads(arguments(dockerfile, "CMD")[-1])
    assert parse(command).config == "/etc/activator/activator.yaml"


def test_its_health_is_asked_with_what_is_in_it(dockerfile: list[tuple[str, str]]) -> None:
    [check] = arguments(dockerfile, "HEALTHCHECK")
    program, option, code = json.loads(check.partition("CMD ")[2])
    assert (program, option) == ("python", "-c")
    assert "/readyz" in ast.unparse(ast.parse(code))


def test_what_it_copies_is_there_and_not_ignored(dockerfile: list[tuple[str, str]]) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    for copied in arguments(dockerfile, "COPY"):
        if not copied.startswith("--from"):
            for source in shlex.split(copied)[:-1]:
                assert (ROOT / source).exists()
                assert source.partition("/")[0] in kept


def test_it_has_every_extra_that_serving_can_need(dockerfile: list[tuple[str, str]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [installed] = re.findall(r"'\.\[([\w,]+)\]'", " ".join(arguments(dockerfile, "RUN")))
    wanted = set(project["optional-dependencies"]) & {"redis", "kubernetes", "tracing"}
    assert set(installed.split(",")) == wanted


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        image = service["image"]
        assert EXACT.fullmatch(image) or image == "activator:0", image


def test_only_the_proxy_reaches_the_socket(compose: dict[str, Any]) -> None:
    holders = [
        name
        for name, service in compose["services"].items()
        if any("docker.sock" in volume for volume in service.get("volumes", ()))
    ]
    assert holders == ["docker-proxy"]
    services = compose["services"]
    sharing = [name for name in services if "engine" in services[name]["networks"]]
    assert sharing == ["activator", "docker-proxy"]
    assert compose["networks"]["engine"] == {"internal": True}


def test_the_activators_configuration_fits_the_compose_file(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    environ = services["activator"]["environment"]
    settings = load(COMPOSE / "activator.yaml", environ=environ)
    [endpoint] = settings.endpoints
    assert isinstance(endpoint.backend, DockerBackend)
    assert endpoint.backend.engine == "tcp://docker-proxy:2375"
    model = services["model"]
    assert endpoint.backend.container == model["container_name"]
    assert endpoint.backend.network == f"{compose['name']}_{model['networks'][0]}"
    assert str(endpoint.backend.port) in model["expose"]
    assert str(endpoint.backend.port) in model["command"]
    assert model["restart"] == "no"
    minutes = int(services["activator"]["stop_grace_period"].removesuffix("m"))
    assert minutes * 60 > settings.server.drain_delay + settings.server.shutdown_grace


def test_the_proxy_lets_through_one_container_and_denies_the_rest() -> None:
    text = (COMPOSE / "docker-proxy.cfg").read_text(encoding="utf-8")
    paths = re.findall(r"^    acl \w+ +path_reg (\S+)$", text, re.MULTILINE)

    def passes(path: str) -> bool:
        return any(re.search(each, path) for each in paths)

    for call in ("json", "logs", "start", "stop"):
        assert passes(f"/v1.44/containers/activator-model/{call}")
        assert not passes(f"/v1.44/containers/other/{call}")
    assert passes("/version")
    assert passes("/v1.44/events")
    for path in ("/v1.44/containers/create", "/v1.44/containers/json", "/v1.44/images/create"):
        assert not passes(path)
    rules = re.findall(r"^    http-request (.+)$", text, re.MULTILINE)
    assert rules[-1] == "deny deny_status 403"
