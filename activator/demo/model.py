"""A text model small enough to read: word n-grams with interpolated Kneser-Ney smoothing.

It decides what comes next in a text, and how likely. Fitting, sampling and every probability are
real; only the size is a toy's: it knows the words of the text it was fitted to and no others.
How fast tokens are handed out and how they are spoken of in HTTP is left to `server`.

Source: S. Chen, J. Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling"
(1999), section 3; one discount per order, D = n1 / (n1 + 2 n2).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator, Sequence

CORPUS = Path(__file__).with_name("corpus.txt")
END = "\n\n"
"""The token between paragraphs: a text ends, and the next one begins, with it."""

_PIECES = re.compile(r"\n\n| ?[A-Za-z]+| ?\d+| ?[^\sA-Za-z\d]|\s")


def pieces(text: str) -> list[str]:
    """Words, numbers and signs, each with the space before it; joined they are `text` again."""
    return _PIECES.findall(text)


@dataclass(frozen=True, slots=True)
class _Followers:
    """What was seen after one context: discounted shares, and what is left for shorter contexts."""

    shares: tuple[tuple[int, float], ...]
    rest: float


class TextModel:
    """Continues text. Immutable once fitted, so any number of requests may share it."""

    def __init__(self, vocabulary: tuple[str, ...], levels: tuple[_Level, ...]) -> None:
        self.vocabulary = vocabulary
        self._levels = levels
        self._ids = {piece: number for number, piece in enumerate(vocabulary)}
        self.end = self._ids[END]

    @classmethod
    def fit(cls, text: str, *, order: int = 5) -> TextModel:
        """Count `text`; `order` is the longest n-gram that is looked at, at least 1."""
        if order < 1:
            raise ValueError("the order of an n-gram model is at least 1")
        body = pieces(text.strip())
        vocabulary = (END, *sorted(set(body) - {END}))
        ids = {piece: number for number, piece in enumerate(vocabulary)}
        stream = [ids[END], *(ids[piece] for piece in body), ids[END]]
        return cls(vocabulary, tuple(_levels(stream, order)))

    def encode(self, text: str) -> list[int | None]:
        """The tokens of `text`, None for what the model has never seen."""
        return [self._lookup(piece) for piece in pieces(text)]

    def distribution(self, context: Sequence[int | None]) -> list[float]:
        """How likely each token of the vocabulary is after `context`; sums to 1.

        An unknown token (None) ends the part of the context that is looked at.
        """
        known = _known_tail(context)
        chances = [1.0 / len(self.vocabulary)] * len(self.vocabulary)
        for length, level in enumerate(self._levels):
            if length > len(known):
                break
            followers = level.get(tuple(known[len(known) - length :]))
            if followers is None:
                break  # a longer context has not been seen either
            chances = [followers.rest * chance for chance in chances]
            for token, share in followers.shares:
                chances[token] += share
        return chances

    def sample(
        self, context: Sequence[int | None], *, temperature: float, dice: random.Random
    ) -> int:
        """One next token. Temperature 0 takes the likeliest; 1 is the model as it was fitted."""
        chances = self.distribution(context)
        if temperature == 0:
            return max(range(len(chances)), key=chances.__getitem__)
        if temperature != 1:
            # relative to the likeliest, so that a tiny temperature cannot underflow all of them
            best = max(chances)
            chances = [(chance / best) ** (1.0 / temperature) for chance in chances]
        return dice.choices(range(len(chances)), cum_weights=list(accumulate(chances)))[0]

    def continue_text(
        self, context: Sequence[int | None], *, temperature: float, dice: random.Random
    ) -> Iterator[str]:
        """Piece after piece until the model ends the paragraph; the caller bounds the number."""
        seen = list(context[-len(self._levels) :])
        while (token := self.sample(seen, temperature=temperature, dice=dice)) != self.end:
            seen = [*seen[1 - len(self._levels) :], token]
            yield self.vocabulary[token]

    def _lookup(self, piece: str) -> int | None:
        """A word is the same word at the start of a text, where no space stands before it."""
        bare = piece.strip(" ")
        for form in (piece, " " + bare, bare):
            if (token := self._ids.get(form)) is not None:
                return token
        return None


_Level = dict[tuple[int, ...], _Followers]
"""By context, for contexts of one length."""


def _levels(stream: list[int], order: int) -> Iterator[_Level]:
    """One table for each length of context, the empty one first."""
    for n in range(1, order + 1):
        if n == order:
            counts = Counter(_ngrams(stream, n))
        else:
            # a shorter n-gram counts by how many different tokens came before it, not how often
            counts = Counter(gram[1:] for gram in set(_ngrams(stream, n + 1)))
        yield _smoothed(counts)


def _smoothed(counts: Counter[tuple[int, ...]]) -> _Level:
    once = sum(1 for count in counts.values() if count == 1)
    twice = sum(1 for count in counts.values() if count == 2)
    # the estimate needs both; 0.75 is the usual value where a text is too small for it
    discount = once / (once + 2 * twice) if once and twice else 0.75
    by_context: dict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
    for gram, count in counts.items():
        by_context[gram[:-1]].append((gram[-1], count))
    level: _Level = {}
    for context, seen in by_context.items():
        total = sum(count for _, count in seen)
        shares = tuple((token, (count - discount) / total) for token, count in seen)
        level[context] = _Followers(shares=shares, rest=discount * len(seen) / total)
    return level


def _ngrams(stream: list[int], n: int) -> Iterable[tuple[int, ...]]:
    return zip(*(stream[start:] for start in range(n)), strict=False)


def _known_tail(context: Sequence[int | None]) -> list[int]:
    known: list[int] = []
    for token in reversed(context):
        if token is None:
            break
        known.append(token)
    known.reverse()
    return known
