"""Every key's name, in one place."""

from __future__ import annotations


class Keys:
    """Names under one prefix. A script's keys all carry one tag: in a cluster they share a node."""

    def __init__(self, prefix: str) -> None:
        if "{" in prefix or "}" in prefix:
            raise ValueError("a prefix with braces would decide where in a cluster a key lies")
        self.prefix = prefix

    def of(self, endpoint: str, *parts: str) -> str:
        """A key of one endpoint, under its tag."""
        return f"{self.prefix}:{{{endpoint}}}:{':'.join(parts)}"

    def shared(self, *parts: str) -> str:
        """A key of all endpoints together, under no tag; a script touches only one of these."""
        return f"{self.prefix}:{':'.join(parts)}"
