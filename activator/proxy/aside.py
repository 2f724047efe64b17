"""A request beside its straight way: it is in line or on its way to the fallback, and its client is
told meanwhile. Most go from their head to a free replica and back, and need none of it.

Decided here is how one waits that cannot go on, and when it may. What becomes of it at a replica,
and how it ends, is `handler`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core.endpoint import Dialect
from activator.errors import ActivatorError, UpstreamUnreachable
from activator.proxy.browser.navigation import is_navigation
from activator.proxy.browser.page import is_shown, show_page, why_not_yet
from activator.proxy.browser.visits import visit
from activator.proxy.detour import detour_of
from activator.proxy.holding import Holding
from activator.proxy.openai.early import EarlyAnswer

if TYPE_CHECKING:
    from activator.core.endpoint import Replica
    from activator.proxy.detour import Detour
    from activator.proxy.handler import Exchange
    from activator.proxy.retrying import Failures
    from activator.telemetry.spans import Trace


class Aside:
    """Of one request; None: it has none of that. `holding`'s Waiter and `detour`'s Traveller."""

    __slots__ = (
        "_granted", "_request", "detour", "early", "elsewhere", "failures", "holding", "trace",
    )  # fmt: skip

    def __init__(self, request: Exchange) -> None:
        self._request = request
        self._granted: Replica | None = None
        """It has a slot there; its body, which was left in the socket, must flow again first."""
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

    def begin(self) -> None:
        """There is no slot for it now."""
        if not self._leave_for_fallback():
            self._hold()

    def begin_again(self) -> None:
        """A replica has failed it: at another one, from its old place in line."""
        holding = self.holding
        if holding is None:
            holding = self.holding = self._new_holding()
        self._wait_aloud()
        holding.begin_again()

    # --- at the fallback ------------------------------------------------------------------------

    def _leave_for_fallback(self) -> bool:
        """False: nobody there would take it."""
        request = self._request
        detour = detour_of(
            request.proxy,
            request.live,
            self,
            connection=request.connection,
            head=request.head,
            body=request.kept,
            admitted=request.admitted,
            peeked=request.peeked,
            request_id=request.id,
            arrived=request.arrived,
        )
        if detour is None:
            return False
        self.detour = detour
        request.live.gate.leave_for_elsewhere()
        self._wait_aloud()
        detour.begin()
        return True

    def set_out(self) -> None:
        request, detour, early = self._request, self.detour, self.early
        assert detour is not None
        self.elsewhere = detour.whole_at - request.arrived
        identity = False
        if early is not None:
            identity, early.elsewhere = early.waits_aloud, detour.name
        attempt = detour.attempt(request, identity=identity, trace=self.trace)
        request.go_elsewhere(attempt)

    def turned_back(self) -> None:
        request = self._request
        self.detour = None
        if self.trace is not None:
            self.trace.failed("the fallback gave no answer")
        self.elsewhere = request.proxy.clock() - request.arrived
        if self.early is not None:
            self.early.elsewhere = ""
        request.came_back()
        self._hold()

    def broken(self, error: ActivatorError) -> None:
        self._request.fail(error)

    # --- in line --------------------------------------------------------------------------------

    def _hold(self) -> None:
        request = self._request
        if is_shown(request.live) and is_navigation(request.head):
            self._show_page()
            return
        holding = self.holding = self._new_holding()
        self._wait_aloud()
        try:
            holding.begin()
        except ActivatorError as error:
            request.fail(error)

    def _show_page(self) -> None:
        """A person does not wait on the socket: the page waits with them."""
        request = self._request
        live, request_id = request.live, request.id
        visit(request.proxy, live, request_id=request_id)
        error = why_not_yet(live)
        request.end(code=error.status, reason=error.reason)
        show_page(request.connection, request.head, live, error, request_id=request_id)

    def _new_holding(self) -> Holding:
        request = self._request
        within = request.admitted.within
        if within is not None:
            within -= self.elsewhere
        return Holding(
            request.proxy,
            request.live,
            request.ticket,
            connection=request.connection,
            head=request.head,
            body=request.kept,
            request_id=request.id,
            owner=request.admitted.owner,
            within=within,
            waiter=self,
        )

    def granted(self, replica: Replica) -> None:
        request, failures = self._request, self.failures
        connection = request.connection
        if failures is not None and failures.has_met(replica):
            self._pass_over(failures, replica)
        elif connection.body_paused and (connection.continued or not request.head.expects_continue):
            # behind unread bytes nobody can see whether the client has left: they must flow first
            self._granted = replica
            connection.resume_body()
        elif not request.send_whole(replica, self):
            request.dispatch(replica)

    def _pass_over(self, failures: Failures, replica: Replica) -> None:
        """It has been at this server, which may be back under another id."""
        if failures.pass_over(replica):
            self.begin_again()
        else:
            detail = f"replica {replica.id} ended without an answer, and there is no other"
            self._request.fail(UpstreamUnreachable(detail, retry_after=1))

    def refused(self, error: ActivatorError) -> None:
        self._request.fail(error)

    # --- what its client is told meanwhile ------------------------------------------------------

    def _wait_aloud(self) -> None:
        request = self._request
        if request.live.endpoint.dialect is Dialect.OPENAI and self.early is None:
            peeked = request.peeked
            self.speak().wait(request.kept, None if peeked is None else peeked.reading)

    def speak(self) -> EarlyAnswer:
        """What its client is told, in OpenAI's dialect."""
        early = self.early
        if early is None:
            request = self._request
            early = self.early = EarlyAnswer(
                request.proxy,
                request.live,
                request.connection,
                request.head,
                place=self._place,
                owner=request.admitted.owner,
                request_id=request.id,
                arrived=request.arrived,
                give_up=request.fail,
            )
        return early

    def _place(self) -> int | None:
        request = self._request
        return request.live.gate.place(request.ticket)

    # --- from the client, while it waits --------------------------------------------------------

    def more(self, data: bytes) -> None:
        """Of its body."""
        if self._granted is not None:
            if self._request.keep(data):
                self._go_on()
            return
        keeper = self.detour or self.holding
        if keeper is not None:
            keeper.more(data)
            if self.early is not None:
                self.early.more(data)

    def whole(self) -> None:
        """Its body is complete."""
        keeper = self.detour or self.holding
        if self._granted is not None:
            self._go_on()
        elif keeper is not None:
            keeper.whole()

    def _go_on(self) -> None:
        replica, self._granted = self._granted, None
        assert replica is not None
        self._request.dispatch(replica)

    # --- its end --------------------------------------------------------------------------------

    def end(self) -> None:
        """It waits no longer, and is told nothing more."""
        if self.early is not None:
            self.early.close()
        if self.detour is not None:
            self.detour.end()

    def forget(self) -> None:
        """What is in it holds this, and this it: all would outlive the request."""
        self.holding = self.detour = None
