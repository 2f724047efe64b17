"""The process driver with real processes: what is started, how, and what is told about it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from activator.core.endpoint import ProcessBackend
from activator.drivers import watcher
from activator.drivers.base import DriverError, Phase
from activator.drivers.process import ProcessDriver
from tests.driving import driving
from tests.faults import Faulty, failures
from tests.support import eventually

if TYPE_CHECKING:
    from activator.core.effects import FailedStart
    from activator.drivers.base import Snapshot

PYTHON = (sys.executable, "-I", "-S", "-c")

SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    while True:
        server.accept()[0].close()
"""

SELF_PORTRAIT = """
import json, os, sys
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(json.dumps({
    "argv": sys.argv[1:], "cwd": os.getcwd(), "stdin": os.readlink("/proc/self/fd/0"),
    "leads_group": os.getpgid(0) == os.getpid(), "blocked": int(status["SigBlk"], 16),
    "env": {name: value for name, value in os.environ.items() if name.startswith("A_")},
    "fds": [int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")],
}))
"""

LOCKER = """
import fcntl, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
if os.fork() == 0:
    os.setsid()
    open(sys.argv[2], "w").close()
time.sleep(60)
"""


def shell(script: str, **settings: object) -> ProcessDriver:
    return driver("/bin/sh", "-c", script, **settings)


def driver(*command: str, **settings: object) -> ProcessDriver:
    return ProcessDriver("m", ProcessBackend(command, stop_grace=2.0, **settings))  # type: ignore[arg-type]  # a test's shorthand


async def cause_of_exit(subject: ProcessDriver) -> FailedStart:
    async with driving(subject) as driven:
        await subject.scale(1)
        return (await driven.until_exit()).cause


async def test_a_replica_answers_at_the_address_that_is_told() -> None:
    subject = driver(*PYTHON, SERVER, "{host}", "{port}")

    async with driving(subject) as driven:
        await subject.scale(1)
        [replica] = await driven.until_started(1)

        assert replica.id == "m-1"
        assert replica.detail.startswith("pid ")
        assert replica.requested_at <= replica.since
        await _connects(replica.host, replica.port)


async def test_a_replica_has_no_address_before_it_runs() -> None:
    subject = shell("exec sleep 60")

    async with driving(subject) as driven:
        await subject.scale(1)
        await driven.until_started(1)

    requested = [seen for s in driven.seen for seen in s.replicas if seen.phase is Phase.REQUESTED]
    assert requested
    assert all(not seen.host and not seen.port for seen in requested)


async def test_replicas_have_ports_of_their_own_and_victims_go_first_then_the_youngest() -> None:
    subject = shell("exec sleep 60")

    async with driving(subject) as driven:
        await subject.scale(4)
        replicas = await driven.until_started(4)
        assert len({replica.port for replica in replicas}) == 4
        assert driven.now.wanted == 4

        await subject.scale(2, victims=("m-1",))

        await driven.until(lambda s: [r.id for r in s.replicas] == ["m-2", "m-3"])
        assert driven.now.wanted == 2
        assert driven.now.exits == ()


async def test_port_and_host_are_filled_in_and_other_braces_are_left_alone(tmp_path: Path) -> None:
    arguments = ("--at={host}:{port}", '{"port": {"a": 1}}', "{x}{}{{", "$HOME")
    env = (("A_URL", "http://{host}:{port}/{path}"), ("A_PLAIN", "ü"))
    subject = driver(*PYTHON, SELF_PORTRAIT, *arguments, env=env, cwd=str(tmp_path))

    portrait = json.loads((await cause_of_exit(subject)).last_lines[-1])

    port = portrait["argv"][0].rpartition(":")[2]
    assert portrait["argv"] == [f"--at=127.0.0.1:{port}", *arguments[1:]]
    assert portrait["env"] == {"A_URL": f"http://127.0.0.1:{port}/{{path}}", "A_PLAIN": "ü"}
    assert portrait["cwd"] == str(tmp_path)


async def test_what_all_replicas_find_gives_way_to_what_their_backend_says() -> None:
    backend = ProcessBackend((*PYTHON, SELF_PORTRAIT), env=(("A_OWN", "backend"),), stop_grace=2.0)
    subject = ProcessDriver("m", backend, environ={"A_OWN": "driver", "A_ALL": "driver"})

    portrait = json.loads((await cause_of_exit(subject)).last_lines[-1])

    assert portrait["env"] == {"A_OWN": "backend", "A_ALL": "driver"}


async def test_a_model_inherits_nothing_but_its_output_and_leads_a_group_of_its_own() -> None:
    subject = driver(*PYTHON, SELF_PORTRAIT)
    inheritable = os.dup(0)
    os.set_inheritable(inheritable, True)

    try:
        portrait = json.loads((await cause_of_exit(subject)).last_lines[-1])
    finally:
        os.close(inheritable)

    assert portrait["fds"] == [0, 1, 2]
    assert portrait["stdin"] == "/dev/null"
    assert portrait["leads_group"]
    assert portrait["blocked"] == 0


async def test_no_signal_is_ignored_in_a_model_that_has_not_asked_for_it() -> None:
    cause = await cause_of_exit(shell("grep SigIgn /proc/self/status"))
    (line,) = cause.last_lines
    ignored = {number for number in range(1, 65) if int(line.split()[1], 16) >> (number - 1) & 1}

    # the C library keeps two for itself, which nobody can ask it for, and ignores them in what make
    # starts: so it is in `make test`
    assert ignored <= {32, 33}
    assert not ignored & signal.valid_signals()


async def test_an_unasked_end_is_told_with_its_code_and_last_lines_and_not_repaired() -> None:
    subject = shell("echo loading; echo 'no memory' >&2; exit 3")

    async with driving(subject) as driven:
        await subject.scale(1)
        exit_ = await driven.until_exit()

        assert exit_.id == "m-1"
        assert exit_.cause.message == "exited with code 3 before it was told to stop"
        assert exit_.cause.exit_code == 3
        assert exit_.cause.last_lines == ("loading", "no memory")
        assert driven.now.wanted == 0

        await subject.scale(1)

        assert (await driven.until_exit(count=2)).id == "m-2"


@pytest.mark.parametrize(
    ("name", "message"),
    [("KILL", "killed by SIGKILL (out of memory?)"), ("SEGV", "killed by SIGSEGV")],
)
async def test_a_deadly_signal_is_named(name: str, message: str) -> None:
    cause = await cause_of_exit(shell(f"kill -{name} $$"))

    assert cause.message == message
    assert cause.exit_code is not None
    assert cause.exit_code < 0


async def test_everything_printed_before_the_end_is_read() -> None:
    cause = await cause_of_exit(shell("seq 1 25000; exit 1"))

    assert cause.last_lines == tuple(str(number) for number in range(24981, 25001))


async def test_what_cannot_be_executed_is_an_exit_in_words(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    nowhere = str(tmp_path / "nowhere")

    async def message(*command: str, **settings: object) -> str:
        return (await cause_of_exit(driver(*command, **settings))).message

    assert await message("no-such-model") == (
        "cannot execute 'no-such-model': no such file or directory"
    )
    assert await message(str(plain)) == f"cannot execute '{plain}': permission denied"
    assert await message(str(script)) == (
        f"cannot execute '{script}': the interpreter in its first line (#!) does not exist"
    )
    assert await message("true", cwd=nowhere) == (
        f"cannot start in the working directory '{nowhere}': no such file or directory"
    )
    assert await message("true", "\0") == "cannot be started: embedded null byte"
    assert "cannot assign requested address" in await message("true", host="192.0.2.1")


async def test_a_stopped_replica_may_finish_within_its_grace(tmp_path: Path) -> None:
    done = tmp_path / "done"
    ready = tmp_path / "ready"
    subject = shell(
        f"trap 'echo bye > {done}; exit 0' TERM; : > {ready}; while :; do sleep .01; done"
    )

    async with driving(subject) as driven:
        await subject.scale(1)
        await eventually(ready.exists)

        await subject.scale(0)
        await driven.until_empty()

        assert done.read_text() == "bye\n"
        assert driven.now.exits == ()
        assert Phase.STOPPING in {seen.phase for s in driven.seen for seen in s.replicas}


async def test_children_of_a_shell_get_the_whole_grace_when_the_shell_ends_at_once(
    tmp_path: Path,
) -> None:
    done = tmp_path / "done"
    ready = tmp_path / "ready"
    slow = f"trap 'sleep 1.2; : > {done}; exit 0' TERM; : > {ready}; while :; do sleep .01; done"
    subject = shell(f"sh -c '{slow.replace(chr(39), chr(34))}' & wait")

    async with driving(subject) as driven:
        await subject.scale(1)
        await eventually(ready.exists)

        await subject.scale(0)
        await driven.until_empty()

        assert done.exists()


async def test_a_start_waits_until_the_whole_tree_of_the_stopped_one_has_gone(
    tmp_path: Path,
) -> None:
    command = (*PYTHON, LOCKER, str(tmp_path / "the only gpu"), str(tmp_path / "ready-{port}"))
    subject = ProcessDriver("m", ProcessBackend(command, stop_grace=0.15))

    async with driving(subject) as driven:
        for name in ("m-1", "m-2", "m-3"):
            await subject.scale(1)
            [replica] = (await driven.until(partial(_has_started, name))).replicas
            await eventually((tmp_path / f"ready-{replica.port}").exists)
            await subject.scale(0)
        await driven.until_empty()

    assert driven.now.exits == ()
    waiting = [r.detail for s in driven.seen for r in s.replicas if r.phase is Phase.REQUESTED]
    assert "waits for the end of m-1" in waiting
    for snapshot in driven.seen:
        assert len([r for r in snapshot.replicas if r.phase is not Phase.REQUESTED]) <= 1


async def test_a_replica_that_still_waits_for_its_start_is_simply_dropped(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'sleep .2; exit 0' TERM; : > {ready}; while :; do sleep .01; done"
    subject = shell(script)

    async with driving(subject) as driven:
        await subject.scale(1)
        await eventually(ready.exists)
        await subject.scale(0)
        await subject.scale(1)
        await driven.until(lambda s: len(s.replicas) == 2)

        await subject.scale(0)
        await driven.until_empty()

        assert driven.now.exits == ()


async def test_an_order_before_run_is_kept_and_one_after_it_is_refused() -> None:
    subject = shell("exec sleep 60")
    await subject.scale(1)

    async with driving(subject) as driven:
        await driven.until_started(1)
        with pytest.raises(DriverError, match="-1"):
            await subject.scale(-1)

    with pytest.raises(DriverError, match="shutting down"):
        await subject.scale(1)


async def test_output_is_logged_with_endpoint_and_replica(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "activator.replica")

    await cause_of_exit(shell("printf '100%% of %s\\n' layers; exit 1"))

    [record] = [r for r in caplog.records if r.name == "activator.replica"]
    assert record.getMessage() == "100% of layers"
    assert record.__dict__["endpoint"] == "m"
    assert record.__dict__["replica"] == "m-1"


async def test_endless_output_without_a_newline_costs_no_memory_and_delays_no_stop() -> None:
    subject = shell("exec tr '\\0' x < /dev/zero")

    async with driving(subject) as driven:
        await subject.scale(1)
        [replica] = await driven.until_started(1)
        pid = replica.detail.removeprefix("pid ")
        before = _peak_memory()

        await eventually(lambda: _written(pid) > 8 << 20)
        await subject.scale(0)
        await driven.until_empty(within=1.0)

        assert _peak_memory() - before < 4 << 20


async def test_nothing_is_left_open_and_nobody_unreaped() -> None:
    open_before = set(os.listdir("/proc/self/fd"))
    children_before = set(watcher.children(os.getpid()))
    subject = shell("exec sleep 60")
    failing = driver("no-such-model")

    async with driving(subject) as driven, driving(failing) as failed:
        await subject.scale(3)
        await failing.scale(1)
        await driven.until_started(3)
        await failed.until_exit()
        await subject.scale(0)
        await driven.until_empty()

        assert set(os.listdir("/proc/self/fd")) == open_before
        assert set(watcher.children(os.getpid())) == children_before


def _has_started(name: str, snapshot: Snapshot) -> bool:
    return [(r.id, r.phase) for r in snapshot.replicas] == [(name, Phase.STARTED)]


async def _connects(host: str, port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        await writer.wait_closed()
        return


def _written(pid: str) -> int:
    io = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
    return int(io.partition("wchar: ")[2].partition("\n")[0])


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


async def test_processes_live_on_through_a_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    subject = shell("sleep 60")
    async with driving(subject) as driven:
        await subject.scale(1)
        (before,) = await driven.until_started(1)
        Faulty(monkeypatch, subject, "_notice", times=2)
        await subject.scale(2)
        await driven.until_started(2)

        assert before.id in {each.id for each in driven.started()}
        assert failures(caplog) == ["process/m/run"] * 2


async def test_a_start_that_meets_a_fault_of_ours_has_failed_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    subject = shell("sleep 60")
    Faulty(monkeypatch, subject, "_filled_in")
    async with driving(subject) as driven:
        await subject.scale(1)
        assert "an error of its own" in (await driven.until_exit()).cause.message
        assert failures(caplog) == ["process/m/start m-1"]
        await subject.scale(1)
        await driven.until_started(1)
