"""Templates of the waiting page, which are files beside the configuration's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.config.units import format_size
from activator.core.page_template import LARGEST, template_problems

if TYPE_CHECKING:
    from pathlib import Path


def read_template(path: Path) -> str:
    """Raises ValueError with everything that is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8") from None
    if len(content) > LARGEST:
        raise ValueError(f"{path} is larger than {format_size(LARGEST)}")
    if found := template_problems(text):
        raise ValueError(f"{path}: {'; '.join(found)}")
    return text
