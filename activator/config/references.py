"""Secrets stand outside the file: `${NAME}` in the environment, or `file:PATH`.

Decides how a reference is looked up. Which keys may hold one is said by `schema`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def is_reference(text: str) -> bool:
    return _VARIABLE.fullmatch(text) is not None or text.startswith("file:")


def variable(text: str, *, environ: Mapping[str, str]) -> str:
    """`text`, or what the environment has where it is `${NAME}`. Raises ValueError if unset."""
    found = _VARIABLE.fullmatch(text)
    if found is None:
        return text
    try:
        return environ[found[1]]
    except KeyError:
        raise ValueError(f"the environment has no {found[1]}") from None


def resolve(text: str, *, environ: Mapping[str, str], base: Path) -> str:
    """What `${NAME}` or `file:PATH` (relative to `base`) stands for. Raises ValueError."""
    if text.startswith("file:"):
        return read_secret(base / text.removeprefix("file:"))
    return variable(text, environ=environ)


def read_secret(path: Path) -> str:
    """The one line of a secret's file. Raises ValueError if it cannot be read or is empty."""
    try:
        text = path.read_text("utf-8").strip()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text") from None
    if not text:
        raise ValueError(f"{path} is empty")
    return text
