"""The keys of a Docker backend, and the kinds of value that only it has.

A table to read, like `endpoint_schema`, of which this is a part. What the values mean together is
checked in `rules`; what becomes of them is `build`'s business.
"""

from __future__ import annotations

import csv
import re
from ipaddress import ip_address
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from activator.config.fields import (
    KIND,
    Argument,
    Duration,
    Environment,
    Port,
    Section,
    Size,
    Text,
    key,
    required,
)
from activator.core.endpoint import Gpus

DOCKER_HOST: Final = "${DOCKER_HOST}"
DEFAULT_ENGINE: Final = "unix:///var/run/docker.sock"

_VOLUME = re.compile(r"[^:]+:/[^:]*(:[A-Za-z,]+)?")


def parse_gpus(value: object) -> Gpus | None:
    """What `docker run --gpus` takes: `all`, a count, or `name=value` pairs, quoted as in CSV.
    Raises ValueError."""
    if value is None or isinstance(value, Gpus):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be `all`, a count, or `device=…`")
    text = value.strip()
    pairs = next(csv.reader([text]))
    if not pairs[0].partition("=")[1]:
        return Gpus(count=_count(text))
    if pairs[0].startswith("device=") and not any("=" in each for each in pairs[1:]):
        pairs = [",".join(pairs)]  # the command line wants quotes around device=0,1
    return _gpus_of(pairs)


def _gpus_of(pairs: list[str]) -> Gpus:
    count, driver = 0, ""
    ids: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ("gpu",)
    for pair in pairs:
        name, _, told = pair.partition("=")
        match name.strip():
            case "count":
                count = _count(told)
            case "device":
                ids = tuple(each.strip() for each in told.split(",") if each.strip())
            case "driver":
                driver = told.strip()
            case "capabilities":
                capabilities = tuple(dict.fromkeys((*told.split(","), "gpu")))
            case other:
                raise ValueError(f"{other!r} is none of count, device, driver, capabilities")
    if count and ids:
        raise ValueError("has a count and devices: the engine takes one of them")
    return Gpus(
        count=count if count or ids else -1, ids=ids, driver=driver, capabilities=capabilities
    )


def _count(text: str) -> int:
    if text == "all":
        return -1
    if not text.isdecimal() or not 0 < int(text) < 1000:
        raise ValueError(f"{text!r} is neither `all` nor a count of GPUs")
    return int(text)


def format_gpus(gpus: Gpus | None) -> str | None:
    if gpus is None:
        return None
    if gpus == Gpus(count=gpus.count):
        return "all" if gpus.count < 0 else str(gpus.count)
    which = f"device={','.join(gpus.ids)}" if gpus.ids else f"count={gpus.count}"
    more = [f"driver={gpus.driver}"] if gpus.driver else []
    if gpus.capabilities != ("gpu",):
        more.append(f"capabilities={','.join(gpus.capabilities)}")
    return ",".join(f'"{each}"' if more and "," in each else each for each in (which, *more))


def _volume(value: str) -> str:
    if not _VOLUME.fullmatch(value):
        raise ValueError("a volume is written source:/target or source:/target:ro")
    return value


def _ip_address(value: str) -> str:
    return str(ip_address(value))


def engine_address(value: str) -> str:
    """Raises ValueError for what is no address of an engine."""
    if value == DOCKER_HOST:
        return value
    url = urlsplit(value)
    if not (url.scheme == "unix" and url.path) and not (
        url.scheme in {"tcp", "http"} and url.hostname and url.port
    ):
        raise ValueError("must be unix:///path or tcp://host:port")
    return value


_TEXT = {"type": "string"}
GpuRequest = Annotated[
    Gpus | None,
    BeforeValidator(parse_gpus),
    PlainSerializer(format_gpus, return_type=str | None),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, _TEXT, {"type": "null"}], KIND: "GPUs"}
    ),
]
Volume = Annotated[Text, AfterValidator(_volume)]
IpAddress = Annotated[Text, AfterValidator(_ip_address)]
EngineAddress = Annotated[Text, AfterValidator(engine_address)]


class DockerSection(Section):
    """A container that exists, or an image to run."""

    type: Literal["docker"] = required("Replicas are containers of a Docker engine.")
    container: Text | None = key(
        None,
        "An existing container, by name, that is started and stopped, never made or removed. Either"
        " this or `image`.",
    )
    image: Text | None = key(
        None,
        "An image of which a container is made for each replica and removed afterwards. One that"
        " is missing is pulled, without credentials.",
    )
    command: tuple[Argument, ...] = key(
        [], "What the containers run, without a shell. Empty: what the image says."
    )
    env: Environment = key(
        {},
        "Environment of the containers. A value that is `${NAME}` is taken from the activator's own"
        " and must be set there.",
    )
    gpus: GpuRequest = key(
        None,
        "Which GPUs the containers see, as `docker run --gpus` has it: `all`, a count,"
        " `device=0,1`.",
    )
    volumes: tuple[Volume, ...] = key(
        [],
        "As `docker run --volume` has them: `source:/target` or `source:/target:ro`. A source that"
        " begins with `.` is relative to the directory of this file.",
    )
    shm_size: Size = key(
        0,
        "Shared memory of the containers: workers of one model on several GPUs exchange tensors"
        " through it. 0: the engine's default, 64 MiB.",
    )
    port: Port | None = key(
        None,
        "Where the server listens inside the container. Null: the only port that an existing"
        " container exposes; `image` needs it.",
    )
    network: Text | None = key(
        None,
        "Network that the containers join, and in which the activator reaches them: the one that it"
        " is in, if it runs in a container itself. Null: the engine's default; of an existing"
        " container, any that it is in.",
    )
    publish: IpAddress | None = key(
        None,
        "Reach the containers through a port published at this address of the engine's host, like"
        " `127.0.0.1`, where their own addresses cannot be reached (Docker Desktop, a remote"
        " engine). Null: at their own addresses.",
    )
    stop_grace: Duration = key(
        "10s",
        "Between SIGTERM and SIGKILL, in whole seconds: time to free the GPU's memory in order.",
    )
    engine: EngineAddress = key(
        DOCKER_HOST,
        "`unix:///path` or `tcp://host:port` of the engine, or of a proxy that lets through only"
        " what is needed. `${DOCKER_HOST}` where that is not set: `unix:///var/run/docker.sock`.",
    )
