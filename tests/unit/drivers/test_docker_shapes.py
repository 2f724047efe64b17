"""What the engine is asked for, and what its answers say, as Docker 20.10 writes them."""

from __future__ import annotations

from typing import Any

import pytest

from activator.core.endpoint import DockerBackend, Gpus
from activator.drivers.docker_shapes import (
    NoAddress,
    PullProgress,
    Told,
    address,
    creation,
    digest,
    ending,
    look,
    told,
)


def inspection(**parts: Any) -> dict[str, Any]:
    state = {
        "Status": "running",
        "OOMKilled": False,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2026-11-26T01:41:46.122981262Z",
    }
    networks = {"bridge": {"IPAddress": "172.17.0.2", "GlobalIPv6Address": ""}}
    return {
        "Id": "1bc822bb4346",
        "Created": "2026-11-26T01:41:44.349783692Z",
        "State": state | parts.get("state", {}),
        "Config": {"ExposedPorts": parts.get("exposed", {"8000/tcp": {}}), "Labels": None},
        "NetworkSettings": {
            "Ports": parts.get("ports", {}),
            "Networks": parts.get("networks", networks),
        },
    }


def where(backend: DockerBackend, **parts: Any) -> tuple[str, int]:
    return address(inspection(**parts), backend, engine_host="10.0.0.5")


def test_a_creation_holds_what_was_configured() -> None:
    backend = DockerBackend(
        image="vllm:1",
        port=8000,
        command=("serve", "m"),
        env=(("A", "1"),),
        gpus=Gpus(count=-1),
        volumes=("/models:/models:ro",),
        shm_size=1 << 30,
        network="models",
        publish="127.0.0.1",
    )
    assert creation(backend, labels={"l": "v"}) == {
        "Image": "vllm:1",
        "Cmd": ["serve", "m"],
        "Env": ["A=1"],
        "ExposedPorts": {"8000/tcp": {}},
        "Labels": {"l": "v"},
        "HostConfig": {
            "RestartPolicy": {"Name": "no"},
            "Binds": ["/models:/models:ro"],
            "PortBindings": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            "NetworkMode": "models",
            "ShmSize": 1 << 30,
            "DeviceRequests": [
                {
                    "Driver": "",
                    "Count": -1,
                    "DeviceIDs": None,
                    "Capabilities": [["gpu"]],
                    "Options": {},
                }
            ],
        },
    }


def test_chosen_devices_take_the_place_of_a_count() -> None:
    backend = DockerBackend(image="m", port=1, gpus=Gpus(ids=("0", "GPU-1")))
    [request] = creation(backend, labels={})["HostConfig"]["DeviceRequests"]
    assert (request["Count"], request["DeviceIDs"]) == (0, ["0", "GPU-1"])


def test_the_digest_tells_what_makes_another_container_and_nothing_else() -> None:
    backend = DockerBackend(image="m", port=1)
    assert digest(backend) == digest(DockerBackend(image="m", port=1, stop_grace=1.0))
    assert digest(backend) != digest(DockerBackend(image="m", port=1, command=("x",)))


def test_the_containers_own_address_is_used() -> None:
    assert where(DockerBackend(container="m")) == ("172.17.0.2", 8000)
    assert where(DockerBackend(container="m", port=9)) == ("172.17.0.2", 9)


def test_the_address_in_the_network_that_was_named() -> None:
    networks = {"a": {"IPAddress": "10.1.0.2"}, "b": {"IPAddress": "10.2.0.2"}}
    assert where(DockerBackend(network="b"), networks=networks) == ("10.2.0.2", 8000)


def test_only_ipv6() -> None:
    networks = {"six": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}}
    assert where(DockerBackend(), networks=networks) == ("fd00::2", 8000)


def test_in_the_hosts_network_it_is_at_the_engines_host() -> None:
    assert where(DockerBackend(), networks={"host": {"IPAddress": ""}}) == ("10.0.0.5", 8000)


@pytest.mark.parametrize(
    ("bound", "host"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "10.0.0.5"), ("", "10.0.0.5")]
)
def test_a_published_port(bound: str, host: str) -> None:
    ports = {
        "8000/tcp": [
            {"HostIp": "::", "HostPort": "32769"},
            {"HostIp": bound, "HostPort": "32768"},
        ]
    }
    assert where(DockerBackend(publish="127.0.0.1"), ports=ports) == (host, 32768)


@pytest.mark.parametrize(
    ("backend", "parts", "why"),
    [
        (DockerBackend(), {"exposed": None}, "it exposes no port"),
        (DockerBackend(), {"exposed": {"1/tcp": {}, "2/tcp": {}}}, "it exposes 2 ports"),
        (DockerBackend(publish="127.0.0.1"), {}, "its port 8000 is not published"),
        (DockerBackend(network="x"), {}, "it is not in the network x, but in bridge"),
        (DockerBackend(), {"networks": {"none": {"IPAddress": ""}}}, "it has no address in any"),
    ],
)
def test_why_there_is_no_address(backend: DockerBackend, parts: dict[str, Any], why: str) -> None:
    with pytest.raises(NoAddress, match=why):
        where(backend, **parts)


@pytest.mark.parametrize(
    ("state", "message", "code"),
    [
        ({"ExitCode": 1}, "exited with code 1 before it was told to stop", 1),
        ({"ExitCode": 0}, "exited with code 0 before it was told to stop", 0),
        ({"ExitCode": 137}, "killed by SIGKILL", -9),
        ({"ExitCode": 139}, "killed by SIGSEGV", -11),
        ({"ExitCode": 255}, "exited with code 255 before it was told to stop", 255),
        (
            {"ExitCode": 137, "OOMKilled": True},
            "killed: out of memory (the container's limit)",
            -9,
        ),
        ({"ExitCode": 127, "Error": "exec: not found"}, "cannot be started: exec: not found", None),
    ],
)
def test_the_cause_of_an_end(state: dict[str, Any], message: str, code: int | None) -> None:
    cause = ending(inspection(state={"Status": "exited"} | state), last_lines=("bye",))
    assert (cause.message, cause.exit_code) == (message, code)


def test_a_look_reads_the_engines_clock() -> None:
    seen = look(inspection())
    assert seen.runs
    assert not seen.has_ended
    assert seen.created_at == pytest.approx(1795657304.349783)


def test_progress_counts_the_layers_it_has_heard_of() -> None:
    progress = PullProgress("m:1")
    assert str(progress) == "pulls m:1"
    for layer in ("a", "b"):
        detail = {"current": 1_000_000, "total": 30_000_000}
        progress.take({"status": "Downloading", "id": layer, "progressDetail": detail})
    assert str(progress) == "pulls m:1: 2 of 60 MB"
    progress.take({"status": "Download complete", "id": "a", "progressDetail": {}})
    assert str(progress) == "pulls m:1: 31 of 60 MB"


@pytest.mark.parametrize(
    ("action", "attributes", "says"),
    [
        ("kill", {"signal": "15"}, Told.ORDERED),
        ("kill", {"signal": "1"}, None),
        ("stop", {}, Told.ORDERED),
        ("die", {"exitCode": "1"}, Told.ENDED),
        ("start", {}, None),
    ],
)
def test_what_an_event_says(action: str, attributes: dict[str, str], says: Told | None) -> None:
    event = {"Action": action, "Actor": {"ID": "1bc8", "Attributes": attributes}}
    assert told(event) == ("1bc8", says)


def test_an_event_without_an_actor_is_nobodys() -> None:
    assert told({"status": "pull"}) == ("", None)
