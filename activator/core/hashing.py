"""Rendezvous hashing: every process ranks the same replicas the same way for the same bytes.

(Thaler and Ravishankar, "A name-based mapping scheme for rendezvous", 1996.) Only those whose
favourite comes or goes move. Decides nothing about load; `core.balancing` does.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_MASK: Final = (1 << 64) - 1


def fingerprint(data: bytes) -> int:
    """64 bits that depend on nothing but `data` (unlike `hash`, which each process salts)."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def rank(fingerprint_: int, salt: int) -> int:
    """How much the bytes with this fingerprint like the replica with this salt; most wins.

    The finaliser of splitmix64 (Steele, Lea and Flood 2014): one hash a request, then some
    nanoseconds a replica.
    """
    mixed = fingerprint_ ^ salt
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)
