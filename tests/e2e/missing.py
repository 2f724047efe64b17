"""What a machine lacks for a cluster of one's own, said once and in a sentence."""

from __future__ import annotations

import shutil

_PROGRAMS = {
    "openssl": "openssl",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
"""Each with its package."""


class Missing(Exception):
    """There can be no cluster here; the message completes "…, because"."""


def check_programs() -> None:
    """Raises Missing."""
    lacking = {name: package for name, package in _PROGRAMS.items() if not shutil.which(name)}
    if lacking:
        packages = " ".join(sorted(set(lacking.values())))
        raise Missing(f"{', '.join(lacking)} cannot be found (Debian: apt install {packages})")
