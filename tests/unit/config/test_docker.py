"""A Docker backend: its kinds of value, what they mean together, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.config.docker_schema import format_gpus, parse_gpus
from activator.core.endpoint import DockerBackend, Gpus
from tests.unit.config.support import endpoint, problems_of, settings_of, warnings_of

if TYPE_CHECKING:
    from pathlib import Path


def docker(
    tmp_path: Path, keys: str, *, more: str = "", environ: dict[str, str] | None = None
) -> DockerBackend:
    text = endpoint(more, backend=f"docker, {keys}")
    backend = settings_of(tmp_path, text, environ=environ or {}).endpoints[0].backend
    assert isinstance(backend, DockerBackend)
    return backend


def test_an_image_with_all_its_keys(tmp_path: Path) -> None:
    keys = (
        "image: 'vllm:1', port: 8000, command: [serve, 7], env: {A: '${B}'}, gpus: all,"
        " volumes: ['./models:/models:ro', 'cache:/cache'], shmSize: 1GiB, network: models,"
        " publish: 127.0.0.1, stopGrace: 30s, engine: 'tcp://docker-proxy:2375'"
    )
    assert docker(tmp_path, keys, environ={"B": "1"}) == DockerBackend(
        image="vllm:1",
        port=8000,
        command=("serve", "7"),
        env=(("A", "1"),),
        gpus=Gpus(count=-1),
        volumes=(f"{tmp_path.resolve()}/models:/models:ro", "cache:/cache"),
        shm_size=1 << 30,
        network="models",
        publish="127.0.0.1",
        stop_grace=30.0,
        engine="tcp://docker-proxy:2375",
    )


def test_an_existing_container_needs_nothing_but_its_name(tmp_path: Path) -> None:
    assert docker(tmp_path, "container: llama") == DockerBackend(container="llama")


def test_the_engine_is_dockers_own_unless_it_is_said(tmp_path: Path) -> None:
    assert docker(tmp_path, "container: m").engine == "unix:///var/run/docker.sock"
    environ = {"DOCKER_HOST": "tcp://10.0.0.1:2375"}
    assert docker(tmp_path, "container: m", environ=environ).engine == "tcp://10.0.0.1:2375"
    own = docker(tmp_path, "container: m, engine: 'unix:///x'", environ=environ)
    assert own.engine == "unix:///x"


def test_an_engine_that_cannot_be_spoken_to_is_a_problem(tmp_path: Path) -> None:
    text = endpoint("", backend="docker, container: m")
    (problem,) = problems_of(tmp_path, text, environ={"DOCKER_HOST": "ssh://box"})
    assert problem.startswith("4: endpoints[0].backend.engine: DOCKER_HOST is ssh://box")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("port: 80", "has either `container` or `image`, and not both"),
        ("container: m, image: m", "has either `container` or `image`, and not both"),
        ("image: m", "backend.port: is needed"),
        ("container: m, gpus: all", "backend.gpus: is said when a container is made"),
        ("container: m, shmSize: 1GiB", "backend.shmSize: is said when a container is made"),
        ("image: m, port: 1, gpus: some", "'some' is neither `all` nor a count of GPUs"),
        ("image: m, port: 1, gpus: 0", "'0' is neither `all` nor a count of GPUs"),
        ("image: m, port: 1, volumes: [/models]", "volumes[0]: a volume is written"),
        ("image: m, port: 1, publish: here", "publish: "),
        ("image: m, port: 1, engine: 'ssh://x'", "engine: must be unix:///path or tcp://"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, keys: str, said: str) -> None:
    (problem,) = problems_of(tmp_path, endpoint("", backend=f"docker, {keys}"))
    assert problem.startswith("4: endpoints[0].backend")
    assert said in problem


def test_one_container_is_one_replica(tmp_path: Path) -> None:
    text = endpoint("scale: {max: 2}", backend="docker, container: m")
    (problem,) = problems_of(tmp_path, text)
    assert "scale.max: is 2, but there is one container m" in problem


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("gpus: all", "backend.gpus: all 2 replicas get the same GPUs"),
        ("publish: 0.0.0.0", "backend.publish: is not loopback"),
    ],
)
def test_what_is_worth_a_warning(tmp_path: Path, keys: str, said: str) -> None:
    text = endpoint("scale: {max: 2}", backend=f"docker, image: m, port: 80, {keys}")
    assert any(said in warning for warning in warnings_of(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "gpus", "shown"),
    [
        ("all", Gpus(count=-1), "all"),
        (2, Gpus(count=2), "2"),
        ("2", Gpus(count=2), "2"),
        ("device=0,GPU-1", Gpus(ids=("0", "GPU-1")), "device=0,GPU-1"),
        ('"device=0,1"', Gpus(ids=("0", "1")), "device=0,1"),
        ("driver=nvidia,count=1", Gpus(count=1, driver="nvidia"), "count=1,driver=nvidia"),
        (
            '"device=0,1",driver=cdi',
            Gpus(ids=("0", "1"), driver="cdi"),
            '"device=0,1",driver=cdi',
        ),
        (
            '"capabilities=compute,utility"',
            Gpus(count=-1, capabilities=("compute", "utility", "gpu")),
            'count=-1,"capabilities=compute,utility,gpu"',
        ),
    ],
)
def test_gpus_as_the_command_line_has_them(text: object, gpus: Gpus, shown: str) -> None:
    assert parse_gpus(text) == gpus
    assert format_gpus(gpus) == shown


@pytest.mark.parametrize("text", ["device=0,count=1", "colour=red,count=1", True, ""])
def test_gpus_that_make_no_sense(text: object) -> None:
    with pytest.raises(ValueError, match=r"takes one|none of|must be"):
        parse_gpus(text)
