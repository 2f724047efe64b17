"""Events on objects, written in the background: once each, counted, and never waited for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from activator.aiokit.tasks import Tasks
from activator.kube.access import Access
from activator.kube.client import KubeClient
from activator.kube.notes import PENDING, Note, Notes, Subject
from tests.faults import failures
from tests.kube_server import KubeServer, kube_server, kubeconfig
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from tests.kube_server import Object

LLAMA = Subject("apps/v1", "Deployment", "models", "llama", "u1")


def note(message: str) -> Note:
    return Note(LLAMA, "EndpointRefused", message, is_warning=True)


class Desk:
    """Notes at work, and the namespaces for which it was told that none can be written."""

    def __init__(self, folder: Path, server: KubeServer) -> None:
        self.refused: list[str] = []
        self.client = KubeClient(Access({"KUBECONFIG": str(kubeconfig(folder, server.port))}))
        self.notes = Notes(
            self.client,
            wall=lambda: 1.0,
            refused=lambda namespace, error: self.refused.append(namespace),
            pause=0.0,
        )


@contextlib.asynccontextmanager
async def desk(folder: Path, server: KubeServer) -> AsyncIterator[Desk]:
    made, tasks = Desk(folder, server), Tasks("notes")
    tasks.spawn_lasting(made.notes.run, name="run")
    try:
        yield made
    finally:
        await tasks.aclose()
        await made.client.aclose()


def events(server: KubeServer) -> list[Object]:
    return list(server.objects["events", "models"].values())


async def test_the_same_once_more_raises_its_count(tmp_path: Path) -> None:
    async with kube_server() as server, desk(tmp_path, server) as it:
        it.notes.write(note("x"))
        it.notes.write(note("x"))
        await eventually(lambda: [each["count"] for each in events(server)] == [2])
        it.notes.write(note("x"))
        await eventually(lambda: [each["count"] for each in events(server)] == [3])
        it.notes.write(note("y"))
        await eventually(lambda: len(events(server)) == 2)
        told = events(server)[0]
        assert (told["reason"], told["message"], told["type"]) == (
            "EndpointRefused",
            "x",
            "Warning",
        )
        assert told["involvedObject"]["uid"] == "u1"
        assert told["lastTimestamp"] == "1970-01-01T00:00:01Z"


async def test_what_the_cluster_has_forgotten_is_written_anew(tmp_path: Path) -> None:
    async with kube_server() as server, desk(tmp_path, server) as it:
        it.notes.write(note("x"))
        await eventually(lambda: events(server))
        server.delete("events", events(server)[0]["metadata"]["name"])
        it.notes.write(note("x"))
        await eventually(lambda: [each["count"] for each in events(server)] == [1])


async def test_without_the_right_it_is_told_once_and_nothing_piles_up(tmp_path: Path) -> None:
    async with kube_server() as server, desk(tmp_path, server) as it:
        server.forbidden = {("create", "events")}
        for message in "abc":
            it.notes.write(note(message))
        await eventually(lambda: len(server.asked) == 3)
        server.forbidden = set()
        it.notes.write(note("d"))
        await eventually(lambda: [each["message"] for each in events(server)] == ["d"])
        assert it.refused == ["models"]


async def test_what_is_too_much_is_given_up_oldest_first(tmp_path: Path) -> None:
    async with kube_server() as server:
        made = Desk(tmp_path, server)
        for number in range(PENDING + 5):
            made.notes.write(note(str(number)))
        task = asyncio.get_running_loop().create_task(made.notes.run())
        last = str(PENDING + 4)
        await eventually(lambda: last in {each["message"] for each in events(server)})
        task.cancel()
        await made.client.aclose()
        assert {each["message"] for each in events(server)} == {
            str(number) for number in range(5, PENDING + 5)
        }


async def test_one_that_cannot_be_written_for_a_fault_of_ours_keeps_no_other_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with kube_server() as server, desk(tmp_path, server) as it:
        post = it.client.post

        async def fails(path: str, body: Any) -> Any:
            if body["message"] == "x":
                raise RuntimeError("a bug")
            return await post(path, body)

        monkeypatch.setattr(it.client, "post", fails)
        it.notes.write(note("x"))
        it.notes.write(note("y"))
        await eventually(lambda: [each["message"] for each in events(server)] == ["y"])
        assert failures(caplog) == ["notes/run"]
