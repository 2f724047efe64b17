"""A pod's network: a namespace with one address on the bridge, kept open by a process that sleeps.

The namespace goes when that process and the last container have ended; nothing of it is written
anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process

from tests.e2e.network import BRIDGE, HOST

LEASHED = ("setpriv", "--pdeathsig", "KILL")
"""Before a command that must not outlive the kubelet."""

_PAUSE = "ip link set lo up && echo up && exec sleep infinity"


class Sandbox:
    """Made by `open`."""

    def __init__(self, process: Process, address: str) -> None:
        self._process = process
        self.address = address

    @classmethod
    async def open(cls, address: str) -> Sandbox:
        process = await asyncio.create_subprocess_exec(
            *(*LEASHED, "unshare", "--net", "sh", "-c", _PAUSE), stdin=DEVNULL, stdout=PIPE
        )
        sandbox = cls(process, address)
        assert process.stdout is not None
        if not await process.stdout.readline():
            raise RuntimeError("the sandbox has ended")
        outside = "v" + "".join(f"{int(part):02x}" for part in address.split("."))
        peer = ("type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        await _run("ip", "link", "add", outside, "master", BRIDGE, "up", *peer)
        inside = (
            f"ip addr add {address}/16 dev eth0 && ip link set eth0 up"
            f" && ip route add default via {HOST}"
        )
        await _run(*sandbox.enter, "sh", "-c", inside)
        return sandbox

    @property
    def enter(self) -> tuple[str, ...]:
        """The words before a command that is to run in it."""
        return ("nsenter", f"--net=/proc/{self._process.pid}/ns/net", "--")

    async def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {said.decode().strip()}")
