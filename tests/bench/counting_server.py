"""`bench.model_server` without a model: its tokens count up from the number that a question has."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from bench import model_server

if TYPE_CHECKING:
    from collections.abc import Sequence


def generate(question: Sequence[int], wanted: int) -> list[int]:
    return list(range(len(question), len(question) + wanted))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--load-seconds", type=float, default=0.0)
    options = parser.parse_args()

    def load() -> model_server.Generate:
        time.sleep(options.load_seconds)
        return generate

    model_server.serve("counting", load, port=options.port)


if __name__ == "__main__":
    main()
