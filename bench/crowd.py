"""Clients with large bodies: so many at once, each sending another as soon as it is answered.

    python -m bench.crowd --port 8080 --host models --clients 20 --size 8388608

Chats whose `model` stands behind the messages, as SDKs write them. Until it is ended; an answer
that is not a 200 ends it with status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Final

import uvloop

MODEL: Final = "large"
MESSAGE: Final = {"role": "user", "content": 'It said "no", ' + "and then word after word " * 40}


def body_of(size: int) -> bytes:
    """At least so many bytes."""
    one = len(json.dumps(MESSAGE)) + 2
    return json.dumps({"messages": [MESSAGE] * (size // one + 1), "model": MODEL}).encode()


async def send_on(request: bytes, *, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the answer was {head!r}")
        fields = dict(line.lower().split(b": ", 1) for line in head[:-4].split(b"\r\n")[1:])
        await reader.readexactly(int(fields[b"content-length"]))
        print("answered", flush=True)


async def crowd(*, port: int, host: str, clients: int, size: int) -> None:
    body = body_of(size)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    await asyncio.gather(*(send_on(request, port=port) for _ in range(clients)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(crowd(**vars(options)))


if __name__ == "__main__":
    main()
