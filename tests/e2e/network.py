"""The network that the cluster lives in: a namespace that this process moves into, with a bridge.

Nothing in it reaches the machine's own network, and nothing out there reaches it: its loopback is
free of other people's ports, and pods get addresses of a range that may be in use outside. It
vanishes with the last process in it, whatever that dies of, so there is nothing to clean up.
"""

from __future__ import annotations

import ctypes
import os
import subprocess

from tests.e2e.missing import Missing

BRIDGE = "pods"
HOST = "10.244.0.1"
"""This process among the pods; also the node's own address."""
PODS = "10.244.0.0/16"

_CLONE_NEWNET = 0x4000_0000
_SETUP = (
    "link set lo up",
    f"link add {BRIDGE} type bridge forward_delay 0",
    f"addr add {HOST}/16 dev {BRIDGE}",
    f"link set {BRIDGE} up",
)


def enter() -> None:
    """From now on, for this process and those that it starts. Raises Missing."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise Missing(
            f"a network namespace cannot be made ({os.strerror(ctypes.get_errno())}), which takes"
            " root, or CAP_SYS_ADMIN"
        )
    for each in _SETUP:
        done = subprocess.run(["ip", *each.split()], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"`ip {each}` failed: {done.stderr.strip()}")
