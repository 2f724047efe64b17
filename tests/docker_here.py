"""The Docker engine of this machine, where there is one: tests of the driver run over it too.

No image is fetched. The one that containers are made of is empty and is made here; what they run
is this machine's own, through volumes.
"""

from __future__ import annotations

import io
import os
import socket
import tarfile
from dataclasses import dataclass
from pathlib import Path

import aiohttp

IMAGE = "activator-test:empty"
VOLUMES = tuple(f"{path}:{path}:ro" for path in ("/bin", "/lib", "/lib64", "/usr"))


@dataclass(frozen=True, slots=True)
class DockerHere:
    socket: Path

    @property
    def address(self) -> str:
        return f"unix://{self.socket}"

    async def post(self, path: str, **request: object) -> None:
        """One call, as a person would give it."""
        connector = aiohttp.UnixConnector(str(self.socket))
        async with (
            aiohttp.ClientSession(connector=connector, raise_for_status=True) as client,
            client.post(f"http://engine{path}", **request) as answer,  # type: ignore[arg-type]  # aiohttp's own
        ):
            await answer.read()

    async def make_image(self) -> None:
        empty = io.BytesIO()
        with tarfile.open(fileobj=empty, mode="w") as tar:
            for name in ("bin", "lib", "lib64", "usr"):
                directory = tarfile.TarInfo(name)
                directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(directory)
        repo, _, tag = IMAGE.partition(":")
        query = {"fromSrc": "-", "repo": repo, "tag": tag}
        await self.post("/images/create", params=query, data=empty.getvalue())


def docker_here() -> DockerHere | None:
    """At DOCKER_HOST or in the usual place; None if nobody listens."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        return None  # its machine may be another, with other programs
    path = address.removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return None
    return DockerHere(Path(path))
