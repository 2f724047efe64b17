from __future__ import annotations

from collections import Counter

from activator.core.hashing import fingerprint, rank


def favourite(key: int, salts: list[int]) -> int:
    mark = fingerprint(b"session-%d" % key)
    return max(salts, key=lambda salt: rank(mark, salt))


def test_a_fingerprint_is_the_same_in_every_process_and_for_ever() -> None:
    # several activators, of several versions, must agree; the bytes are `b2sum -l 64`'s
    assert fingerprint(b"session").to_bytes(8, "little").hex() == "24f89fa18d88a5b5"


def test_every_replica_is_the_favourite_of_about_as_many() -> None:
    salts = [fingerprint(b"replica-%d" % n) for n in range(8)]

    shares = Counter(favourite(key, salts) for key in range(4000))

    assert len(shares) == 8
    assert min(shares.values()) > 400
    assert max(shares.values()) < 600


def test_when_a_replica_goes_only_its_own_keys_move() -> None:
    salts = [fingerprint(b"replica-%d" % n) for n in range(8)]
    before = {key: favourite(key, salts) for key in range(1000)}

    after = {key: favourite(key, salts[1:]) for key in range(1000)}

    assert all(after[key] == before[key] for key in before if before[key] != salts[0])
