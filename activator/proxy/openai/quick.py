"""The model of a body that is short and has come whole: read at once by the interpreter's own JSON
reader, which takes a fraction of what `toplevel` takes for a body of any size in any pieces.

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
"""Bytes of a model's name in a body."""
_NAME: Final = b'"model"'
_MODEL: Final = re.compile(rb'"model"[ \t\r\n]*+:[ \t\r\n]*+("(?:[^"\\]|\\.)*+")')
_ESCAPED: Final = b"\\u006"
"""How an escaped letter of that name begins; nothing else escapes those."""
_SPACE: Final = " \t\r\n"
_DECODER: Final = json.JSONDecoder()


def model_of(body: bytes) -> tuple[str, Value] | None:
    """The model, and where the only `"model"` of an object stands, at its top level. None: there is
    none, or it takes a closer look to tell."""
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
    found = _MODEL.match(body, at)
    if found is None or not isinstance(model, str) or text[end:].strip(_SPACE):
        return None
    start, after = found.span(1)
    if after - start > LONGEST_MODEL:
        return None
    return model, Value(body[start:after], start, after)
