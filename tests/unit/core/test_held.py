"""What operators are shown of a request's target."""

from __future__ import annotations

import pytest

from activator.core.held import SHOWN, shown_path


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/v1/x?token=hush", "/v1/x"),
        (b"http://user:hush@host/a/b?c", "/a/b"),
        (b"http://host", "/"),
        (b"*", "*"),
        (b"/a?b=http://x/y", "/a"),
    ],
)
def test_a_target_is_shown_without_what_may_be_secret(target: bytes, shown: str) -> None:
    assert shown_path(target) == shown


def test_a_long_one_is_cut() -> None:
    assert len(shown_path(b"/" + b"x" * 999)) == SHOWN
