"""Files that change on disk while the activator runs: taken up, or refused and said so."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any, cast

import yaml

from activator.app import reloading
from activator.app.operations import AppOperations
from activator.app.reloading import Reloading
from activator.config.keys import load_keys
from activator.config.settings import load
from activator.coordination.memory_wishes import MemoryWishes
from activator.proxy.door import Door
from activator.telemetry.events import EventLog
from tests.faults import Faulty, failures
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    import pytest

    from activator.control.bookkeeper import Bookkeeper
    from activator.control.supervisor import Supervisor
    from activator.core.endpoint import Endpoint
    from activator.core.jobs import JobsPolicy
    from activator.proxy.listener import Certificate, Proxy
    from activator.queueing.jobs import JobStore


class Applied:
    """In the supervisor's place: what it was told to make of the endpoints."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []

    async def apply(self, endpoints: Sequence[Endpoint]) -> None:
        self.told.append([endpoint.name for endpoint in endpoints])


class Jobs:
    """In the place of the store of jobs."""

    policy: JobsPolicy | None = None

    def configure(self, policy: JobsPolicy) -> None:
        self.policy = policy


class Unusable:
    """In the certificate's place: files that cannot be read at first."""

    def __init__(self) -> None:
        self.reloads = 0

    def reload(self) -> None:
        self.reloads += 1
        if self.reloads == 1:
            raise OSError("no such file")


class Desk:
    def __init__(self, folder: Path, **extra: Any) -> None:
        self.path = folder / "activator.yaml"
        self.config: dict[str, Any] = {"endpoints": [endpoint("a")], **extra}
        self.write()
        settings = load(self.path)
        self.applied = Applied()
        supervisor = cast("Supervisor", self.applied)
        self.jobs = Jobs()
        self.events = EventLog()
        self.operations = AppOperations(
            supervisor,
            wishes=MemoryWishes,
            costs=self._bookkeeper,
            why_not_ready=lambda: None,
            why_not_serving=lambda: None,
            settings=settings,
            events=self.events,
        )
        keys_file = settings.auth.api_keys_file
        keys = load_keys(keys_file) if keys_file else None
        self.door = Door(keys=keys, trusted=settings.server.trusted_proxies)
        self.openai = settings.openai
        self.reloading = Reloading(
            settings,
            overrides={},
            apply=lambda settings: self.applied.apply(settings.endpoints),
            operations=self.operations,
            events=self.events,
        )

    def _bookkeeper(self) -> Bookkeeper:
        raise AssertionError("nobody asks for costs here")

    def write(self) -> None:
        self.path.write_text(yaml.safe_dump(self.config), encoding="utf-8")

    def change(self, *names: str, **server: Any) -> None:
        self.config["endpoints"] = [endpoint(name) for name in names]
        self.config.setdefault("server", {}).update(server)
        self.write()
        self.reloading.poke()

    @property
    def actions(self) -> list[str]:
        return [event.action for event in self.events.since(0)]

    async def until_told(self, action: str) -> str:
        """The reason of the first event with this action."""
        await eventually(lambda: action in self.actions)
        return next(event.reason for event in self.events.since(0) if event.action == action)


def endpoint(name: str) -> dict[str, Any]:
    backend = {"type": "static", "urls": ["http://127.0.0.1:1"]}
    return {"name": name, "match": {"hosts": [f"{name}.example"]}, "backend": backend}


@contextlib.asynccontextmanager
async def desk(
    folder: Path, *, certificate: Unusable | None = None, **extra: Any
) -> AsyncIterator[Desk]:
    made = Desk(folder, **extra)
    made.reloading.start(
        proxy=cast("Proxy", made),
        jobs=cast("JobStore", made.jobs),
        certificate=cast("Certificate | None", certificate),
    )
    try:
        yield made
    finally:
        await made.reloading.aclose()


async def test_a_changed_file_is_taken_up(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.change("a", "b")
        await d.until_told("configuration_changed")

        assert d.applied.told == [["a", "b"]]
        assert d.jobs.policy == d.reloading.settings.jobs
        assert [each.name for each in d.reloading.settings.endpoints] == ["a", "b"]


async def test_a_file_that_says_the_same_changes_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        before = d.operations.config_status()
        d.change("a")
        await eventually(lambda: d.operations.config_status() is not before)

        assert d.applied.told == []
        assert d.actions == []


async def test_an_invalid_file_is_refused_and_its_repair_clears_that(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.change("a", "a")
        assert "a" in await d.until_told("configuration_refused")
        assert not d.operations.config_status().ok
        assert d.applied.told == []

        d.change("a")
        await eventually(lambda: d.operations.config_status().ok)
        assert d.applied.told == []


async def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.path.unlink()
        d.reloading.poke()
        await d.until_told("configuration_refused")

        assert [each.name for each in d.reloading.settings.endpoints] == ["a"]


async def test_what_needs_a_restart_is_named_and_the_rest_taken_up(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.change(
            "a", "b", listen="127.0.0.1:1234", shutdownGrace="5s", trustedProxies=["10.0.0.0/8"]
        )

        assert "server.listen" in await d.until_told("needs_restart")
        assert d.applied.told == [["a", "b"]]
        assert d.reloading.settings.server.shutdown_grace == 5.0
        assert d.door.trusts("10.1.2.3")


async def test_keys_are_read_again_and_a_broken_file_leaves_the_old_ones(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    line = f"ann:{hashlib.sha256(b'secret').hexdigest()}\n"
    other = f"bob:{hashlib.sha256(b'another').hexdigest()}\n"
    keys.write_text(line)
    async with desk(tmp_path, auth={"apiKeysFile": str(keys)}) as d:
        before = d.door.keys
        keys.write_text("ann:not-a-hash\n")
        d.reloading.poke()
        await d.until_told("keys_refused")
        assert d.door.keys is before

        keys.write_text(line + other)
        d.reloading.poke()
        await eventually(lambda: any(e.action == "keys_changed" for e in d.events.since(0)))
        assert d.door.keys is not None
        assert len(d.door.keys) == 2


async def test_an_unusable_certificate_is_said_and_tried_again(tmp_path: Path) -> None:
    certificate = Unusable()
    async with desk(tmp_path, certificate=certificate) as d:
        d.reloading.poke()
        assert "no such file" in await d.until_told("certificate_refused")
        d.reloading.poke()

        await d.until_told("certificate_changed")


async def test_a_change_that_met_a_fault_of_ours_is_taken_up_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path) as d:
        Faulty(monkeypatch, d.applied, "apply", times=2)
        d.change("a", "b")
        await d.until_told("configuration_changed")

        assert d.applied.told == [["a", "b"]]
        assert failures(caplog) == ["reloading/file"] * 2


async def test_keys_whose_reading_met_a_fault_of_ours_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"ann:{hashlib.sha256(b'secret').hexdigest()}\n")
    async with desk(tmp_path, auth={"apiKeysFile": str(keys)}) as d:
        Faulty(monkeypatch, reloading, "load_keys")
        d.reloading.poke()
        await d.until_told("keys_changed")

        assert failures(caplog) == ["reloading/keys"]


async def test_a_certificate_whose_reading_met_a_fault_of_ours_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Unusable()
    certificate.reloads = 1
    Faulty(monkeypatch, certificate, "reload")
    async with desk(tmp_path, certificate=certificate) as d:
        d.reloading.poke()
        await d.until_told("certificate_changed")

        assert failures(caplog) == ["reloading/certificate"]


async def test_what_met_a_fault_of_ours_halfway_can_be_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path) as d:
        faulty = Faulty(monkeypatch, d.applied, "apply", times=1000, after=True)
        d.change("a", "b")
        await eventually(lambda: faulty.failed)
        d.config["endpoints"] = [endpoint("a")]
        d.config["server"] = {}
        d.write()
        faulty.times = 0

        await d.until_told("configuration_changed")
        assert d.applied.told[-1] == ["a"]
