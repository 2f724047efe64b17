"""`POST /v1/responses` with `background: true`: a job like any other, that answers as a Response.

The model is asked to answer at once; who made the request has the id of its job, and comes again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from activator.proxy.asking import Asking
from activator.proxy.openai.response_stream import ResponseStream
from activator.proxy.openai.responses import described
from activator.proxy.preferences import Wanted

if TYPE_CHECKING:
    from activator.proxy.admitted import Admitted
    from activator.proxy.body import Body
    from activator.proxy.listener import Proxy
    from activator.proxy.openai.responses import Background
    from activator.queueing.jobs import Created, Envelope, Record
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

_KEY: Final = b"background "
"""Before an idempotency key: the same request in the foreground is another one."""


class BackgroundAsking(Asking):
    """See the module."""

    def __init__(
        self,
        proxy: Proxy,
        connection: ServerConnection,
        head: RequestHead,
        admitted: Admitted,
        background: Background,
        *,
        key: bytes,
        request_id: bytes,
        arrived: float,
        begun: Body,
    ) -> None:
        """`key`: of idempotency; empty: none."""
        wanted = Wanted(wait=0.0, applied=b"", key=_KEY + key if key else b"")
        super().__init__(
            proxy,
            connection,
            head,
            admitted,
            wanted,
            request_id=request_id,
            arrived=arrived,
            begun=begun,
        )
        self._background = background
        self._identity = True

    def _envelope(self, webhook: str) -> Envelope:
        return replace(super()._envelope(webhook), response=self._background.shown)

    async def _tell(self, record: Record, *, new: Created | None = None) -> None:
        if self._background.is_stream:
            await ResponseStream(self, self._store, record).run()
        else:
            self.say(described(record.job, record.envelope.response))
