from __future__ import annotations

import random
from itertools import islice
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.demo.model import CORPUS, END, TextModel, pieces

TEXT = CORPUS.read_text(encoding="utf-8")
MODEL = TextModel.fit(TEXT)


def written(model: TextModel, prompt: str, *, tokens: int, temperature: float, seed: int) -> str:
    made = model.continue_text(
        model.encode(prompt), temperature=temperature, dice=random.Random(seed)
    )
    return "".join(islice(made, tokens))


@given(st.text(max_size=200))
def test_pieces_joined_are_the_text_again(text: str) -> None:
    assert "".join(pieces(text)) == text


def test_the_shipped_text_is_long_enough_to_learn_from() -> None:
    assert 8 << 10 <= len(TEXT.encode()) <= 20 << 10
    assert len(MODEL.vocabulary) > 300


@given(st.lists(st.sampled_from(range(len(MODEL.vocabulary))), max_size=6))
def test_chances_sum_to_one_after_any_context(context: list[int]) -> None:
    chances = MODEL.distribution(context)

    assert isclose(sum(chances), 1.0, rel_tol=1e-9)
    assert min(chances) > 0.0


def test_what_was_seen_is_likelier_than_what_was_not() -> None:
    chances = MODEL.distribution(MODEL.encode("the first"))
    loaf, baker = MODEL.encode(" loaf baker")
    assert loaf is not None
    assert baker is not None

    assert chances[loaf] > 10 * chances[baker]


def test_a_word_seen_after_many_words_falls_back_better_than_an_equally_frequent_one() -> None:
    """What Kneser-Ney is for: `san francisco` makes `francisco` frequent, not likely elsewhere."""
    model = TextModel.fit("x san francisco san francisco san francisco a tea b tea c tea", order=2)
    francisco, tea = model.encode(" francisco tea")
    assert francisco is not None
    assert tea is not None

    after_the_unknown = model.distribution([None])

    assert after_the_unknown[tea] > after_the_unknown[francisco]


def test_an_unknown_word_hides_what_came_before_it() -> None:
    assert MODEL.distribution(MODEL.encode("the first xylophone")) == MODEL.distribution([])
    assert MODEL.distribution(MODEL.encode("xylophone the first")) == MODEL.distribution(
        MODEL.encode("the first")
    )


def test_a_word_is_known_with_and_without_the_space_before_it() -> None:
    assert MODEL.encode("baker")[0] == MODEL.encode(" baker")[0]


def test_the_same_seed_writes_the_same_text_and_another_seed_another() -> None:
    first = written(MODEL, "The", tokens=30, temperature=1.0, seed=7)

    assert first == written(MODEL, "The", tokens=30, temperature=1.0, seed=7)
    assert first != written(MODEL, "The", tokens=30, temperature=1.0, seed=8)


def test_temperature_zero_throws_no_dice() -> None:
    texts = {written(MODEL, "The baker", tokens=20, temperature=0.0, seed=s) for s in range(5)}

    assert len(texts) == 1


@pytest.mark.parametrize("temperature", [0.01, 0.5, 2.0])
def test_any_temperature_gives_text_of_known_words(temperature: float) -> None:
    text = written(MODEL, "In the night", tokens=20, temperature=temperature, seed=1)

    assert set(pieces(text)) <= set(MODEL.vocabulary)


def test_an_answer_ends_where_a_paragraph_would() -> None:
    model = TextModel.fit("one two three" + END + "one two three", order=3)

    assert written(model, "one", tokens=50, temperature=0.0, seed=0) == " two three"


def test_an_order_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        TextModel.fit("some text", order=0)
