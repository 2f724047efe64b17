from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from activator.demo.generation import Generation


def test_an_answer_that_ends_by_itself_stops() -> None:
    answer = Generation(iter(["a", "b"]), max_tokens=5)

    assert list(answer) == ["a", "b"]
    assert (answer.finish, answer.tokens) == ("stop", 2)


def test_an_answer_at_its_bound_takes_no_further_token() -> None:
    source = iter(["a", "b", "c"])

    answer = Generation(source, max_tokens=2)

    assert list(answer) == ["a", "b"]
    assert (answer.finish, answer.tokens) == ("length", 2)
    assert next(source) == "c"


def test_what_may_begin_a_stop_string_is_held_back_until_it_is_none() -> None:
    assert list(Generation(iter(["x<", "/", "y"]), max_tokens=9, stop=("</s>",))) == [
        "x",
        "",
        "</y",
    ]


def test_a_stop_string_over_several_tokens_ends_the_answer_before_it() -> None:
    source = iter(["x<", "/s", ">", "never"])

    answer = Generation(source, max_tokens=9, stop=("</s>", "zzz"))

    assert "".join(answer) == "x"
    assert answer.finish == "stop"
    assert next(source) == "never"


def test_what_was_held_back_is_given_at_the_end() -> None:
    assert "".join(Generation(iter(["x", "<"]), max_tokens=9, stop=("</s>",))) == "x<"
    assert "".join(Generation(iter(["x", "<"]), max_tokens=2, stop=("</s>",))) == "x<"


@given(
    st.lists(st.text(alphabet="ab", min_size=1, max_size=3), max_size=12),
    st.lists(st.text(alphabet="ab", min_size=1, max_size=3), max_size=3),
)
def test_streamed_text_is_the_whole_text_up_to_the_first_stop_string(
    source: list[str], stop: list[str]
) -> None:
    whole = "".join(source)
    cuts = [at for one in stop if (at := whole.find(one)) >= 0]

    streamed = "".join(Generation(iter(source), max_tokens=99, stop=tuple(stop)))

    # of two stop strings the one that is complete first wins, which may begin later
    assert whole.startswith(streamed)
    assert not any(one in streamed for one in stop)
    assert (streamed == whole) == (not cuts)
