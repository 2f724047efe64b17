"""What a template of the waiting page may say, and that nothing put into it becomes HTML."""

from __future__ import annotations

import pytest

from activator.core.page_template import MARKUP, NAMES, TEXTS, fill, template_problems

WHOLE = {name: "" for name in TEXTS}
MADE = {name: "" for name in MARKUP}


def test_every_value_is_escaped_and_markup_is_not() -> None:
    page = fill(
        "$head<p title='$detail'>$problem</p>",
        texts=WHOLE | {"detail": "' onclick='x", "problem": "<script>alert(1)</script> & $head"},
        markup=MADE | {"head": "<meta>"},
    )

    assert page == (
        "<meta><p title='&#x27; onclick=&#x27;x'>"
        "&lt;script&gt;alert(1)&lt;/script&gt; &amp; $head</p>"
    )


def test_a_template_with_all_names_and_a_dollar_sign_is_in_order() -> None:
    text = " ".join(f"${{{name}}}" for name in sorted(NAMES)) + " $$5"

    assert template_problems(text) == []
    assert fill(text, texts=WHOLE, markup=MADE).endswith(" $5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$head\n costs $5", "line 2: a lone `$`"),
        ("$head $hedline", "line 1: `$hedline` is none of"),
        ("<html></html>", "has no `$head`"),
        ("$$head", "has no `$head`"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, said: str) -> None:
    (problem,) = template_problems(text)
    assert problem.startswith(said)
