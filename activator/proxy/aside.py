"""What there is beside a request's straight way: most requests go from their head to a free replica
and back, and need none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activator.proxy.detour import Detour
    from activator.proxy.holding import Holding
    from activator.proxy.openai.early import EarlyAnswer
    from activator.proxy.retrying import Failures
    from activator.telemetry.spans import Trace


class Aside:
    """Of one request. None: it has none of that."""

    __slots__ = ("detour", "early", "elsewhere", "failures", "holding", "trace")

    def __init__(self) -> None:
        self.holding: Holding | None = None
        self.failures: Failures | None = None
        """None: no replica has failed it."""
        self.early: EarlyAnswer | None = None
        """In OpenAI's dialect: the answer, since it waits or has begun."""
        self.detour: Detour | None = None
        """Until it has turned back, whatever else becomes of it."""
        self.elsewhere = 0.0
        """Seconds that went by until it could go there, or was back."""
        self.trace: Trace | None = None
