"""`python -m tests.e2e.kubelet`: one node, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from activator.aiokit.tasks import Tasks
from tests.e2e.api import Access, Api
from tests.e2e.kubelet.node import Identity, Node


async def _run(access: Access, identity: Identity) -> None:
    async with Api(access) as api:
        tasks = Tasks("kubelet")
        running = tasks.spawn(Node(api, identity).run(), name="node")
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        await tasks.drained()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.kubelet", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--gpus", type=int, default=4)
    parser.add_argument("--folder", type=Path, required=True, help="for logs")
    for each in ("--ca", "--certificate", "--key"):
        parser.add_argument(each, type=Path, required=True)
    told = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s")
    identity = Identity(
        name=told.node,
        gpus=told.gpus,
        folder=told.folder,
        ca=told.ca,
        certificate=told.certificate,
        key=told.key,
    )
    asyncio.run(_run(Access.from_kubeconfig(told.kubeconfig), identity))


if __name__ == "__main__":
    main()
