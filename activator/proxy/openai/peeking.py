"""A request whose endpoint depends on its body: the body is read as far as that needs.

It is kept as it comes, beyond IN_MEMORY in a temporary file, and goes on unchanged, save for the
model's name where an endpoint rewrites it. Who gets the request then is for the entrance to say.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from activator.errors import NOT_JSON, ActivatorError, BodyTooLarge
from activator.proxy.admission import Peeked
from activator.proxy.body import Body
from activator.proxy.openai.multipart import boundary_of
from activator.proxy.openai.quick import LONGEST_MODEL, model_of
from activator.proxy.openai.reading import Reading
from activator.proxy.spool import IN_MEMORY, Spool
from activator.wire.heads import CHUNKED

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.proxy.listener import Proxy
    from activator.proxy.openai.toplevel import Value
    from activator.wire.heads import Field, RequestHead
    from activator.wire.server import ServerConnection

PREFIX: Final = 256
"""Bytes of a prompt by which a replica is liked: enough to tell conversations apart that begin with
the same words, no more than the shortest has of what is worth a cache."""
PROMPTS: Final = ("messages", "prompt", "input")
METADATA: Final = 16 << 10
"""Bytes of what a client has told of its request for itself: OpenAI takes 16 pairs."""
WANTED: Final = {
    "model": LONGEST_MODEL,
    "stream": 16,
    "background": 16,
    "store": 16,
    "metadata": METADATA,
    **dict.fromkeys(PROMPTS, PREFIX),
}


class Peeking:
    """wire's `Receiver` until enough is known; then `seen` is called, and whoever it hands the
    connection to goes on with the body."""

    def __init__(
        self,
        proxy: Proxy,
        connection: ServerConnection,
        head: RequestHead,
        *,
        prompt: bool,
        whole: bool,
        plain: bool,
        seen: Callable[[Peeked], None],
        failed: Callable[[ActivatorError], None],
        left: Callable[[], None],
    ) -> None:
        """`prompt`: how it begins is needed besides the model; `whole`: everything. `plain`: as
        `is_plain_json` says. One of the three is called, once."""
        self._proxy = proxy
        self._connection = connection
        self._head = head
        self._prompt = prompt
        self._needs_all = whole
        self._is_plain = plain
        self._seen = seen
        self._failed = failed
        self._left = left
        self._body = Body(complete=False)
        self._reading: Reading | None = None
        """None: nothing has come yet."""
        self._entered = False
        self._over = False

    def start(self) -> None:
        self._connection.receiver = self
        if not self._connection.body_at_hand:
            self._enter()

    def _enter(self) -> None:
        """What comes next waits for the rest: it is read when there is room for it."""
        self._entered = True
        length = self._head.length
        room = IN_MEMORY if length == CHUNKED else min(length, IN_MEMORY)
        if self._proxy.intake.enter(self, room):
            self.may_read()
        else:
            self._connection.pause_body()

    # --- as a guest of the intakes

    @property
    def held_bytes(self) -> int:
        return self._body.size

    def may_read(self) -> None:
        if self._over:
            return
        self._connection.send_continue()
        self._flow()

    def _flow(self) -> None:
        """More may come, unless what has come is not read yet, or there is no room for it."""
        spool = self._body.spool
        behind = self._reading is not None and self._reading.behind
        if not behind and (spool is None or spool.has_room):
            self._connection.resume_body()

    # --- what the connection tells

    def body(self, data: bytes) -> None:
        try:
            self._keep(data)
        except ActivatorError as error:
            self._fail(error)
            return
        if self._reading is None and self._is_seen_at_once(data):
            return
        reading = self._read()
        reading.feed(data)
        if self._over:
            return
        if self._body.size > self._proxy.openai.peek_bytes:
            self._fail(BodyTooLarge("What it asks for is not within openai.peekBytes"))
        elif reading.behind:
            self._connection.pause_body()
        elif not self._entered:
            self._enter()

    def _keep(self, data: bytes) -> None:
        body = self._body
        body.add(data)
        if body.spool is None and body.size > IN_MEMORY:
            length, most = self._head.length, self._proxy.openai.peek_bytes
            room = most if length == CHUNKED else min(length, most)
            body.spill(Spool(self._proxy.spools, room=room, admitted=self.may_read))
            self._leave()
            if body.spool is not None and not body.spool.has_room:
                self._connection.pause_body()

    def body_ended(self, trailers: list[Field]) -> None:
        self._body.end(trailers)
        self._read().end()

    def body_broken(self, error: ActivatorError) -> None:
        self._fail(error)

    def client_left(self) -> None:
        self._settle()
        self._body.forget()
        self._left()

    def writable(self, *, ok: bool) -> None:
        """Nothing is written yet."""

    # --- what the body tells

    def _read(self) -> Reading:
        if self._reading is None:
            self._reading = Reading(self._proxy.turns, self._head, WANTED, self._told)
        return self._reading

    def _is_seen_at_once(self, data: bytes) -> bool:
        """Nothing but the model is asked for, and `data` is all of a body that tells it."""
        if self._prompt or self._needs_all or not self._is_plain or len(data) != self._head.length:
            return False
        found = model_of(data)
        if found is None:
            return False
        model, value = found
        self._settle()
        self._seen(Peeked(model, value, None, self._body, None))
        return True

    def _told(self) -> None:
        if self._over:
            return
        reading = self._read()
        found = reading.found
        prompt = next((found[name] for name in PROMPTS if name in found), None)
        enough = "model" in found and (prompt is not None or not self._prompt)
        if reading.over or (enough and not self._needs_all):
            self._settle()
            self._seen(
                Peeked(
                    model=_model(found.get("model")),
                    value=found.get("model"),
                    prompt=None if prompt is None else prompt.raw,
                    body=self._body,
                    reading=reading,
                )
            )
        else:
            self._flow()

    def _fail(self, error: ActivatorError) -> None:
        self._settle()
        self._body.forget()
        self._failed(error)

    def _settle(self) -> None:
        self._over = True
        if self._reading is not None:
            self._reading.stop()
        self._leave()

    def _leave(self) -> None:
        if self._entered:
            self._proxy.intake.leave(self)
        self._entered = True


def is_plain_json(head: RequestHead) -> bool:
    """Its body is what it is taken for as it stands, without a coding, and is no form."""
    encoded = b"content-encoding" in head.first
    return not encoded and not boundary_of(head.get(b"content-type") or b"")


def _model(value: Value | None) -> str | None:
    """As it was meant: a text of JSON, or of a form."""
    if value is None or not value.whole or not value.raw:
        return None
    if value.is_text:
        return value.raw.decode("utf-8", "replace")
    try:
        model = json.loads(value.raw)
    except NOT_JSON:
        return None
    return model if isinstance(model, str) else None


def written(model: str, value: Value) -> bytes:
    """The bytes that stand for this model where `value` stood."""
    return model.encode() if value.is_text else json.dumps(model).encode()
