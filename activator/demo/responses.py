"""The model server's second dialect: OpenAI's Responses, whole or as numbered events.

Pure, as `openai` is. Nothing is stored: what is to be made in the background, or to go on from an
earlier response, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from activator.demo.openai import Ask, BadAsk, conversation, read_common, whole_number


@dataclass(slots=True)
class Course:
    """One response as it comes to be. `created` is Unix time in whole seconds."""

    id: str
    created: int
    model: str
    text: str = ""
    status: str = "in_progress"
    usage: dict[str, Any] | None = None
    incomplete: str | None = None
    told: int = 0
    """Events so far."""

    def finish(self, text: str, *, finish: str, prompt_tokens: int, tokens: int) -> None:
        self.text = text
        self.status = "completed" if finish == "stop" else "incomplete"
        self.incomplete = None if finish == "stop" else "max_output_tokens"
        self.usage = {
            "input_tokens": prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt_tokens + tokens,
        }

    # --- as a whole

    def whole(self) -> dict[str, Any]:
        over = self.status != "in_progress"
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": self.status,
            "background": False,
            "error": None,
            "incomplete_details": self.incomplete and {"reason": self.incomplete},
            "instructions": None,
            "metadata": {},
            "model": self.model,
            "output": [self._message()] if over else [],
            "parallel_tool_calls": True,
            "temperature": None,
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "usage": self.usage,
        }

    def _message(self) -> dict[str, Any]:
        return {
            "id": f"msg_{self.id.removeprefix('resp_')}",
            "type": "message",
            "role": "assistant",
            "status": self.status,
            "content": [self._part()] if self.status != "in_progress" else [],
        }

    def _part(self) -> dict[str, Any]:
        return {"type": "output_text", "text": self.text, "annotations": []}

    # --- as events

    def opening(self) -> list[dict[str, Any]]:
        """Before any text."""
        return [
            self._event("response.created", response=self.whole()),
            self._event("response.in_progress", response=self.whole()),
            self._event("response.output_item.added", output_index=0, item=self._message()),
            self._event("response.content_part.added", **self._place(), part=self._part()),
        ]

    def delta(self, text: str) -> dict[str, Any]:
        place = self._place()
        return self._event("response.output_text.delta", **place, delta=text, logprobs=[])

    def closing(self) -> list[dict[str, Any]]:
        """After `finish`."""
        place = self._place()
        return [
            self._event("response.output_text.done", **place, text=self.text, logprobs=[]),
            self._event("response.content_part.done", **place, part=self._part()),
            self._event("response.output_item.done", output_index=0, item=self._message()),
            self._event(f"response.{self.status}", response=self.whole()),
        ]

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._message()["id"], "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **said: Any) -> dict[str, Any]:
        number = self.told
        self.told += 1
        return {"type": kind, "sequence_number": number, **said}


def read_ask(body: object, *, serves: str) -> Ask:
    """Raises BadAsk; `serves` is the one model there is."""
    if not isinstance(body, dict):
        raise BadAsk("The request body must be a JSON object")
    fields = cast("dict[str, object]", body)
    for name in ("background", "previous_response_id", "conversation"):
        if fields.get(name):
            raise BadAsk(f"This server stores nothing: no {name}", param=name)
    return read_common(
        fields,
        serves=serves,
        prompt=_input(fields),
        chat=True,
        max_tokens=whole_number(fields, "max_output_tokens", default=64),
    )


def _input(fields: dict[str, object]) -> str:
    given = fields.get("input")
    messages: object = [{"role": "user", "content": given}] if isinstance(given, str) else given
    instructions = fields.get("instructions")
    if isinstance(instructions, str) and isinstance(messages, list):
        messages = [{"role": "system", "content": instructions}, *messages]
    return conversation(messages, param="input")
