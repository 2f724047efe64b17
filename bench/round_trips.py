"""The bare way to a Redis and back: a blocking socket that sends `GET`s at a steady pace.

A program, so that it runs where a contestant does. Prints its times in seconds as a JSON list.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from typing import Final

from bench.machine import sharpen_timers

ASKED: Final = b"*2\r\n$3\r\nGET\r\n$7\r\nnothing\r\n"
ANSWERED: Final = b"$-1\r\n"


def round_trips(address: tuple[str, int], *, rate: float, seconds: float) -> list[float]:
    """Seconds of each. Raises OSError if the connection is lost, ValueError for a wrong answer."""
    taken: list[float] = []
    with socket.create_connection(address, timeout=10.0) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.monotonic()
        for turn in range(max(1, round(rate * seconds))):
            time.sleep(max(0.0, start + turn / rate - time.monotonic()))
            began = time.perf_counter()
            connection.sendall(ASKED)
            answer = connection.recv(64)
            taken.append(time.perf_counter() - began)
            if answer != ANSWERED:
                raise ValueError(f"Redis answered {answer!r}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    sharpen_timers()
    taken = round_trips(("127.0.0.1", options.port), rate=options.rate, seconds=options.seconds)
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
