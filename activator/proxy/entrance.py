"""What comes in: each request is admitted, and handed to whoever plays it to its end.

Decides only who that is: an `Exchange` as a rule, a page of the activator's own, a job if it asks
to be one; before them `Peeking`, where that depends on the body. Whether it may come in is
`admission`'s; everything after is theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.core.endpoint import Dialect
from activator.errors import ActivatorError
from activator.proxy.admission import (
    BodyNeeded,
    ModelsAsked,
    OwnPath,
    Peeked,
    ResponseAsked,
    admit,
    dialect_at,
)
from activator.proxy.admitted import Admitted, ByModel
from activator.proxy.asking import Asking
from activator.proxy.body import Body
from activator.proxy.browser.page import STREAM
from activator.proxy.browser.stream import PageStream, watched
from activator.proxy.edits import Edit
from activator.proxy.handler import Exchange
from activator.proxy.headers import new_request_id, request_id, resized, usable_id
from activator.proxy.job_pages import JobPage
from activator.proxy.openai.background import BackgroundAsking
from activator.proxy.openai.models import ModelsPage
from activator.proxy.openai.peeking import Peeking, is_plain_json, written
from activator.proxy.openai.quick import model_of
from activator.proxy.openai.response_pages import ResponsePage
from activator.proxy.openai.responses import background_of
from activator.proxy.preferences import wanted
from activator.proxy.replies import refusal
from activator.proxy.straight import go_straight
from activator.proxy.traced import begin_trace
from activator.telemetry.requests import CLIENT_LEFT, Subject, is_logged, request_ended
from activator.wire.heads import CHUNKED

if TYPE_CHECKING:
    from activator.proxy.admitted import Conclusion
    from activator.proxy.listener import Proxy
    from activator.proxy.openai.responses import Background
    from activator.proxy.preferences import Wanted
    from activator.telemetry.metrics import EndpointMetrics
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

_ID: Final = b"x-request-id"


def enter(proxy: Proxy, connection: ServerConnection, head: RequestHead) -> None:
    """wire has read a head. Whoever plays the request is the connection's receiver from here on;
    nobody is, if it was answered at once."""
    known: Conclusion | None = head.note  # type: ignore[assignment]  # nobody else notes anything
    if known is not None and known.terms is proxy.terms:
        if isinstance(known, Admitted):
            own = head.own
            named = (usable_id(own[_ID]) if own and _ID in own else None) or new_request_id()
            arrived, form = proxy.clock(), known.straight
            if form is not None and not head.length:
                go_straight(proxy, connection, head, known, named, arrived)
                return
            if form is not None and (body := connection.whole_body):
                connection.take_body()
                go_straight(proxy, connection, head, known, named, arrived, body)
                return
            exchange = Exchange(proxy, connection, head, known, request_id=named, arrived=arrived)
            connection.receiver = exchange
            exchange.start()
            return
        if isinstance(known, ByModel):
            if not _go_by_model(proxy, connection, head, known):
                _Arrival(proxy, connection, head, known).peek(known)
            return
    _Arrival(proxy, connection, head).admit(None)


def _go_by_model(
    proxy: Proxy, connection: ServerConnection, head: RequestHead, known: ByModel
) -> bool:
    """Straight, where its body has come with it and names a model that others have named; False:
    nothing was done."""
    body = connection.whole_body
    found = model_of(body) if body and known.is_quick else None
    if found is None:
        return False
    admitted = proxy.known_models.get(known, found[0])
    if admitted is None or admitted.model is not None:
        return False
    form = admitted.straight
    if form is None:
        return False
    connection.take_body()
    go_straight(
        proxy,
        connection,
        head,
        admitted,
        request_id(head),
        proxy.clock(),
        body,
        found=found,
    )
    return True


class _Arrival:
    """One request until it is with whoever plays it."""

    __slots__ = ("_arrived", "_by_model", "_connection", "_head", "_id", "_proxy")

    def __init__(
        self,
        proxy: Proxy,
        connection: ServerConnection,
        head: RequestHead,
        by_model: ByModel | None = None,
    ) -> None:
        """`by_model`: what requests like it have led to."""
        self._proxy = proxy
        self._by_model = by_model
        self._connection = connection
        self._head = head
        self._id = request_id(head)
        self._arrived = proxy.clock()

    def admit(self, peeked: Peeked | None) -> None:
        proxy, head = self._proxy, self._head
        try:
            if proxy.shut is not None and (why := proxy.shut()) is not None:
                raise why
            if peeked is not None and (known := self._known(peeked)) is not None:
                self._play_known(known, peeked)
                return
            admitted = admit(
                head,
                door=proxy.door,
                registry=proxy.registry,
                via=proxy.via,
                default_model=proxy.openai.default_model,
                peeked=peeked,
            )
        except OwnPath as path:
            self._own_page(path)
        except ModelsAsked as asked:
            ModelsPage(proxy, self._connection, head, asked, request_id=self._id).start()
        except ResponseAsked as response:
            ResponsePage(proxy, self._connection, head, response, request_id=self._id).start()
        except BodyNeeded as needed:
            by_model = ByModel(
                prompt=needed.prompt, whole=needed.whole, is_plain=is_plain_json(head)
            )
            if needed.lasting:
                by_model.begin(head, proxy)
                self._by_model = by_model
            self.peek(by_model)
        except ActivatorError as error:
            if peeked is not None:
                peeked.body.forget()
            self._refuse(error)
        else:
            self._begin(admitted, peeked)

    def _own_page(self, path: OwnPath) -> None:
        if path.path != STREAM:
            JobPage(self._proxy, self._connection, self._head, path, request_id=self._id).start()
            return
        try:
            admitted = watched(self._proxy, self._head)
        except ActivatorError as error:
            self._refuse(error)
            return
        PageStream(self._proxy, self._connection, self._head, admitted, request_id=self._id).start()

    def _known(self, peeked: Peeked) -> Admitted | None:
        """Where another like it, with the same model, belonged."""
        by_model = self._by_model
        if by_model is None or by_model.terms is not self._proxy.terms:
            return None
        return self._proxy.known_models.get(by_model, peeked.model)

    def peek(self, known: ByModel) -> None:
        body = self._connection.whole_body
        if body and known.is_quick:
            found = model_of(body)
            if found is not None:
                self._connection.take_body()
                self.admit(Peeked(found[0], found[1], None, Body.of(body), None))
                return
        Peeking(
            self._proxy,
            self._connection,
            self._head,
            prompt=known.prompt,
            whole=known.whole,
            plain=known.is_plain,
            seen=self.admit,
            failed=self._refuse,
            left=self._left,
        ).start()

    def _begin(self, admitted: Admitted, peeked: Peeked | None) -> None:
        try:
            background = _wants_background(admitted, peeked)
            asked = _wants_a_job(self._head, admitted)
        except ActivatorError as error:
            self._turn_away(admitted, peeked, error)
            return
        if peeked is not None:
            peeked = self._rewrite(admitted, peeked, background)
        if background is not None and peeked is not None:
            BackgroundAsking(
                self._proxy,
                self._connection,
                self._head,
                admitted,
                background,
                key=b"" if asked is None else asked.key,
                request_id=self._id,
                arrived=self._arrived,
                begun=peeked.body,
            ).start()
            return
        if asked is not None:
            Asking(
                self._proxy,
                self._connection,
                self._head,
                admitted,
                asked,
                request_id=self._id,
                arrived=self._arrived,
                begun=None if peeked is None else peeked.body,
            ).start()
            return
        if peeked is None:
            if not _may_be_read(self._head, admitted):
                admitted.keep_for(self._head, self._proxy)
        elif self._by_model is not None:
            self._by_model.keep(peeked.model, admitted, self._proxy.known_models)
        self._play(admitted, peeked)

    def _play_known(self, admitted: Admitted, peeked: Peeked) -> None:
        form, model, value, body = admitted.straight, peeked.model, peeked.value, peeked.body
        if (
            form is None
            or admitted.model is not None
            or model is None
            or value is None
            or body.spool is not None
            or body.size != self._head.length
        ):
            self._play(admitted, self._rewrite(admitted, peeked, None))
            return
        # many clients send the body in a write of its own: it has come in a read of its own
        go_straight(
            self._proxy,
            self._connection,
            self._head,
            admitted,
            self._id,
            self._arrived,
            b"".join(body.chunks),
            found=(model, value),
        )

    def _play(self, admitted: Admitted, peeked: Peeked | None) -> None:
        exchange = Exchange(
            self._proxy,
            self._connection,
            self._head,
            admitted,
            request_id=self._id,
            arrived=self._arrived,
            peeked=peeked,
        )
        self._connection.receiver = exchange
        exchange.start()

    def _rewrite(self, admitted: Admitted, peeked: Peeked, background: Background | None) -> Peeked:
        """As it goes on from here; where the model stands is not followed beyond a job's edit."""
        edits = [] if background is None else [background.edit]
        value = peeked.value
        if value is not None and admitted.model is not None:
            new = written(admitted.model, value)
            edits.append(Edit(value.start, value.end, new))
            peeked = peeked._replace(value=value._replace(raw=new, end=value.start + len(new)))
        if not edits:
            return peeked
        peeked.body.change(edits)
        if self._head.length != CHUNKED:
            length = self._head.length + sum(edit.growth for edit in edits)
            self._head = resized(self._head, length)
        return peeked

    def _turn_away(self, admitted: Admitted, peeked: Peeked | None, error: ActivatorError) -> None:
        if peeked is not None:
            peeked.body.forget()
        endpoint = admitted.live.endpoint
        _count(admitted.live.metrics, error)
        answer = refusal(self._head, error, request_id=self._id, dialect=endpoint.dialect)
        self._tell(
            error.status,
            error.reason,
            endpoint=endpoint.name,
            key=admitted.owner,
            still_to_send=len(answer.body),
        )
        answer.send(self._connection)

    def _refuse(self, error: ActivatorError) -> None:
        """It belongs to no endpoint."""
        _count(self._proxy.metrics.unrouted, error)
        dialect = dialect_at(self._head, registry=self._proxy.registry)
        answer = refusal(self._head, error, request_id=self._id, dialect=dialect)
        self._tell(error.status, error.reason, still_to_send=len(answer.body))
        answer.send(self._connection)

    def _left(self) -> None:
        duration = self._proxy.clock() - self._arrived
        self._proxy.metrics.unrouted.request(
            code=CLIENT_LEFT, reason="client_left", duration=duration, overhead=0.0
        )
        self._tell(CLIENT_LEFT, "client_left")

    def _tell(
        self,
        status: int,
        reason: str,
        *,
        endpoint: str = "",
        key: str = "",
        still_to_send: int = 0,
    ) -> None:
        """It has ended here, but for so many bytes."""
        proxy, connection, head = self._proxy, self._connection, self._head
        sent = connection.sent + still_to_send
        trace = begin_trace(proxy, connection, head, request_id=self._id, arrived=self._arrived)
        if trace is not None:
            if endpoint:
                trace.routed(endpoint, key=key)
            trace.ended(status=status, reason=reason, received=connection.received, sent=sent)
        if is_logged(status, reason):
            request_ended(
                Subject(endpoint=endpoint, method=head.method, target=head.target, key=key),
                request_id=self._id,
                status=status,
                reason=reason,
                seconds=proxy.clock() - self._arrived,
                bytes_in=connection.received,
                bytes_out=sent,
                remote=proxy.door.client(head, connection.peer),
            )


def _wants_a_job(head: RequestHead, admitted: Admitted) -> Wanted | None:
    first = head.first
    if b"prefer" not in first and b"idempotency-key" not in first:
        return None
    asked = wanted(head)
    return None if admitted.passive is not None or head.websocket else asked


def _may_be_read(head: RequestHead, admitted: Admitted) -> bool:
    """Another time its body may matter: when the endpoint is cold, to its fallback."""
    endpoint = admitted.live.endpoint
    speaks = head.length != 0 and endpoint.dialect is Dialect.OPENAI
    return speaks and endpoint.fallback is not None


def _wants_background(admitted: Admitted, peeked: Peeked | None) -> Background | None:
    if peeked is None or peeked.reading is None:
        return None
    if not admitted.is_response or admitted.passive is not None:
        return None
    return background_of(peeked.reading.found)


def _count(metrics: EndpointMetrics, error: ActivatorError) -> None:
    metrics.request(code=error.status, reason=error.reason, duration=0.0, overhead=0.0)
