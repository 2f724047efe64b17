"""The model server of the end-to-end tests: as much HTTP as they need, and quick to start.

    python -m tests.e2e.model --port 8000 --load-seconds 1 --answer-seconds 0.2

It opens its port when it is "loaded", answers `/health` with `--health`, tells at `/stats` what it
has seen, and answers everything else with the pod's name, after `--answer-seconds`, or after the
seconds that a target like `/for/2.5` names. On SIGTERM it finishes what it works on.

Its start is part of every test, so it imports the standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Stats:
    targets: list[str] = field(default_factory=list)
    """In the order of arrival."""
    in_flight: int = 0
    most_at_once: int = 0


class Model:
    def __init__(self, *, health: int, answer_seconds: float) -> None:
        self.stats = Stats()
        self._health = health
        self._answer_seconds = answer_seconds

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until its client has had enough."""
        try:
            while head := await _head(reader):
                request, *fields = head.split("\r\n")
                length = next((each for each in fields if _is_length(each)), "content-length: 0")
                await reader.readexactly(int(length.partition(":")[2]))
                status, body = await self._answer(request.split()[1])
                answer = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(answer.encode() + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, target: str) -> tuple[int, bytes]:
        stats = self.stats
        match target:
            case "/health":
                return self._health, b""
            case "/stats":
                return 200, json.dumps(asdict(stats)).encode()
        stats.targets.append(target)
        stats.in_flight += 1
        stats.most_at_once = max(stats.most_at_once, stats.in_flight)
        try:
            named = target.removeprefix("/for/")
            await asyncio.sleep(self._answer_seconds if named == target else float(named))
        finally:
            stats.in_flight -= 1
        return 200, os.environ.get("HOSTNAME", "").encode()


async def _head(reader: asyncio.StreamReader) -> str:
    """Without its last empty line; empty at the connection's end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return ""
    return head[:-4].decode("latin-1")


def _is_length(line: str) -> bool:
    return line.lower().startswith("content-length:")


async def _serve(model: Model, port: int) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    server = await asyncio.start_server(model.talk, "0.0.0.0", port)
    print(f"listening on {port}", flush=True)
    await told.wait()
    server.close()
    while model.stats.in_flight:
        await asyncio.sleep(0.01)


async def _run(told: argparse.Namespace) -> None:
    await asyncio.sleep(told.load_seconds)
    model = Model(health=told.health, answer_seconds=told.answer_seconds)
    await _serve(model, told.port)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.model", description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--load-seconds", type=float, default=0.0)
    parser.add_argument("--answer-seconds", type=float, default=0.0)
    parser.add_argument("--health", type=int, default=200)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
