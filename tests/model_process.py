"""A model server as a process of its own, as small as can be: it starts in a moment.

    python tests/model_process.py PORT FOLDER

It leaves a file named after its pid in FOLDER, answers `/wait/NAME` once FOLDER has a file of that
name, anything else at once, and always with its pid.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path


async def main(port: int, folder: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1].decode()
                if target.startswith("/wait/"):
                    while not (folder / target.removeprefix("/wait/")).exists():
                        await asyncio.sleep(0.01)
                body = str(os.getpid()).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    (folder / str(os.getpid())).touch()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
