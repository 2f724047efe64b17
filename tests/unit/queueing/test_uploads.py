from __future__ import annotations

from hashlib import sha256

import pytest

from activator.errors import BodyTooLarge, StoreUnavailable
from activator.queueing.uploads import PIECE, PiecewiseUpload


class Shelf:
    """Takes pieces, and says how many there were before."""

    def __init__(self, *, full_after: int = 1000) -> None:
        self.kept: list[bytes] = []
        self.forgotten = 0
        self._full_after = full_after

    def upload(self, *, most: int = 10 << 20) -> PiecewiseUpload:
        return PiecewiseUpload("m", owner="", most=most, keep=self._keep, forget=self._forget)

    async def _keep(self, upload: PiecewiseUpload, number: int, piece: bytes) -> None:
        assert number == len(self.kept)
        if number >= self._full_after:
            raise StoreUnavailable
        self.kept.append(piece)

    async def _forget(self, upload: PiecewiseUpload) -> None:
        self.forgotten += 1
        self.kept.clear()


async def test_a_small_body_is_kept_back_whole() -> None:
    shelf = Shelf()
    upload = shelf.upload()
    for chunk in (b"a", b"", b"bc"):
        await upload.write(chunk)

    assert (shelf.kept, upload.rest, upload.pieces, upload.size) == ([], b"abc", 0, 3)
    assert upload.fingerprint == sha256(b"abc").digest()


@pytest.mark.parametrize("size", [1000, PIECE, 3 * PIECE + 17])
async def test_pieces_are_of_one_size_however_the_body_came(size: int) -> None:
    shelf = Shelf()
    upload = shelf.upload()
    body = bytes(range(251)) * (3 * PIECE // 251 + 3)
    for start in range(0, len(body), size):
        await upload.write(body[start : start + size])

    assert {len(piece) for piece in shelf.kept} == {PIECE}
    assert b"".join(shelf.kept) + upload.rest == body
    assert upload.pieces == len(shelf.kept) == 3
    assert upload.fingerprint == sha256(body).digest()


async def test_a_body_beyond_its_bound_is_refused_and_forgotten() -> None:
    shelf = Shelf()
    upload = shelf.upload(most=2 * PIECE)
    await upload.write(b"x" * 2 * PIECE)

    with pytest.raises(BodyTooLarge):
        await upload.write(b"y")

    assert (shelf.kept, shelf.forgotten, upload.rest) == ([], 1, b"")


async def test_a_body_that_cannot_be_kept_is_forgotten() -> None:
    shelf = Shelf(full_after=1)
    upload = shelf.upload()
    await upload.write(b"x" * PIECE)

    with pytest.raises(StoreUnavailable):
        await upload.write(b"y" * PIECE)

    assert shelf.forgotten == 1


async def test_what_has_been_used_up_or_discarded_is_not_forgotten_again() -> None:
    shelf = Shelf()
    used, thrown_away, small = shelf.upload(), shelf.upload(), shelf.upload()
    await used.write(b"x" * PIECE)
    used.used_up()
    await used.discard()
    assert shelf.forgotten == 0

    shelf.kept.clear()
    await thrown_away.write(b"x" * PIECE)
    await thrown_away.discard()
    await thrown_away.discard()
    assert shelf.forgotten == 1

    await small.write(b"x")
    await small.discard()
    assert shelf.forgotten == 1
