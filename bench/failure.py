"""What keeps a figure from being measured."""

from __future__ import annotations


class BenchError(Exception):
    """Something did not start, did not answer, or answered wrongly; the message says what."""
