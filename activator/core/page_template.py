"""Templates of the waiting page: which names they may use, and how they are filled in.

`string.Template`: `$name` or `${name}`, and `$$` for a dollar sign. There is no logic in it and
nothing to call, and every value is escaped, so that a template can show nothing but what is put
here. What the values are is the proxy's business.
"""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXTS: Final = frozenset(
    {"endpoint", "headline", "detail", "problem", "elapsed", "usual", "left", "place", "nonce"}
)
"""Escaped."""
MARKUP: Final = frozenset({"head", "steps", "progress"})
"""HTML that the activator has made of values it has escaped itself."""
NAMES: Final = TEXTS | MARKUP
LARGEST: Final = 256 << 10
"""Bytes of a template: it is sent whole to everybody who waits."""


def template_problems(text: str) -> list[str]:
    """Everything that is wrong with it; empty: it can be filled in."""
    found, named = [], set()
    for one in Template.pattern.finditer(text):
        name = one["named"] or one["braced"]
        line = text.count("\n", 0, one.start()) + 1
        if one["invalid"] is not None:
            found.append(f"line {line}: a lone `$`; write `$$` for a dollar sign")
        elif name is not None and name not in NAMES:
            known = ", ".join(f"`${each}`" for each in sorted(NAMES))
            found.append(f"line {line}: `${name}` is none of {known}")
        named.add(name)
    if "head" not in named:
        found.append("has no `$head` between <head> and </head>: the page would never go on")
    return found


def fill(text: str, *, texts: Mapping[str, str], markup: Mapping[str, str]) -> str:
    """`texts` as they are, they are escaped here; `markup` as HTML. Both whole."""
    escaped = {name: escape(value) for name, value in texts.items()}
    return Template(text).substitute({**escaped, **markup})
