"""The model of a body that has come whole, found at once. Where it is told first, nothing else is
read; otherwise the interpreter's own JSON reader reads a short body, in a fraction of the time that
`toplevel` takes for a body of any size in any pieces.

Whatever is not plain as day (a name that may stand twice, escapes that may hide one, anything that
is not one JSON object) is left to that: both find the same.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from activator.errors import NOT_JSON
from activator.proxy.openai.toplevel import Value

MOST: Final = 16 << 10
"""Bytes of a body, all of which are parsed."""
LONGEST_MODEL: Final = 1 << 10
"""Bytes of a model's name in a body, with its quotes and the white space around them."""
_NAME: Final = b'"model"'
_SPACE: Final = rb"[ \t\r\n]{0,16}+"
_MODEL: Final = _NAME + _SPACE + b":" + _SPACE
_FIRST: Final = re.compile(
    rb"[ \t\r\n]*+\{"
    + _SPACE
    + _MODEL
    + rb'("[\x20!\x23-\x5b\x5d-\x7e]{0,900}+")'
    + _SPACE
    + rb"[,}]"
)
"""A name in ASCII: no escapes in it, and the first of several counts."""
_SOMEWHERE: Final = re.compile(
    _MODEL + rb'("(?:[^"\\]|\\.){0,900}+")' + _SPACE + rb"[,}]", re.DOTALL
)
_ESCAPED: Final = b"\\u006"
"""How an escaped letter of that name begins; nothing else escapes those."""
_DECODER: Final = json.JSONDecoder()


def model_of(body: bytes) -> tuple[str, Value] | None:
    """The model, and where the first or only `"model"` of an object stands, at its top level. None:
    there is none, or it takes a closer look to tell."""
    found = _FIRST.match(body)
    if found is not None:
        start, after = found.span(1)
        return body[start + 1 : after - 1].decode(), Value(body[start:after], start, after)
    at = body.find(_NAME)
    if (
        at < 0
        or len(body) > MOST
        or body.find(_NAME, at + 1) >= 0
        # `in` tries first whether it is given a number, and takes twice as long
        or body.find(_ESCAPED) >= 0
    ):
        return None
    said: Any
    try:
        text = body.decode()
        said, end = _DECODER.raw_decode(text)
    except NOT_JSON:
        return None
    model = said.get("model") if isinstance(said, dict) else None
    found = _SOMEWHERE.match(body, at)
    if found is None or not isinstance(model, str) or text[end:].strip(" \t\r\n"):
        return None
    start, after = found.span(1)
    return model, Value(body[start:after], start, after)
