"""The file of API keys: its lines, its mistakes, and finding a key."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from activator.config.keys import Key, KeyRing, load_keys
from activator.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def ring(directory: Path, *lines: str) -> KeyRing:
    path = directory / "keys"
    path.write_text("\n".join(lines) + "\n")
    return load_keys(path)


def problems(directory: Path, *lines: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        ring(directory, *lines)
    return [line.removeprefix(f"{directory}/keys") for line in caught.value.problems]


@pytest.mark.parametrize(
    ("rest", "key"),
    [
        ("", Key("k")),
        (":", Key("k")),
        ("::", Key("k")),
        (":llama", Key("k", frozenset({"llama"}))),
        (":llama, mistral", Key("k", frozenset({"llama", "mistral"}))),
        (":llama:0", Key("k", frozenset({"llama"}), 0)),
        ("::1", Key("k", None, 1)),
        (":1", Key("k", None, 1)),
        (":1:", Key("k", frozenset({"1"}))),
        (":8", Key("k", frozenset({"8"}))),
    ],
)
def test_a_line_says_who_may_use_what_how_urgently(tmp_path: Path, rest: str, key: Key) -> None:
    assert ring(tmp_path, f"k:{digest('s3cret')}{rest}").find(b"s3cret") == key


def test_only_the_right_key_is_found(tmp_path: Path) -> None:
    keys = ring(tmp_path, "# people", "", f"a:{digest('one')}", f"  b:{digest('two').upper()}  ")
    assert len(keys) == 2
    assert keys.find(b"two") == Key("b")
    for wrong in (b"", b"three", digest("one").encode(), b"one "):
        assert keys.find(wrong) is None


def test_a_key_without_endpoints_may_use_all() -> None:
    assert Key("k").allows("anything")
    assert Key("k", frozenset({"a"})).allows("a")
    assert not Key("k", frozenset({"a"})).allows("b")


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        f"a:{digest('1')}",
        "b",
        "c:plain-text-key",
        f"a:{digest('2')}",
        f"d:{digest('1')}",
        f"e:{digest('5')}:x:9",
        f"f:{digest('6')}:Bad Name",
        f"not a name:{digest('7')}",
        f"g:{digest('8')}:a:1:2",
    )
    assert [line.split(":")[1] for line in found] == ["2", "3", "4", "5", "6", "7", "8", "9"]
    assert "sha256sum" in found[1]
    assert "on line 1 already" in found[2]
    assert "same key as on line 1" in found[3]


def test_a_key_that_somebody_forgot_to_hash_is_not_shown(tmp_path: Path) -> None:
    assert "plain-text-key" not in "".join(problems(tmp_path, "c:plain-text-key"))


def test_a_file_without_any_key_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, "# nobody") == [": holds no key"]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_keys(tmp_path / "absent")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not text"):
        load_keys(tmp_path / "bytes")
