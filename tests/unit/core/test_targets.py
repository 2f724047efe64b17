"""Hosts and paths in normal form, and the spellings that are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.targets import is_under, normal_host, normal_path, without_prefix


@pytest.mark.parametrize(
    ("raw", "host"),
    [
        (b"example.com", "example.com"),
        (b"Example.COM:8080", "example.com"),
        (b"example.com.", "example.com"),
        (b"example.com.:443", "example.com"),
        (b"example.com:", "example.com"),
        (b"10.0.0.7:80", "10.0.0.7"),
        (b"my_host", "my_host"),
        (b"[::1]", "[::1]"),
        (b"[0:0::0001]:8080", "[::1]"),
        (b"[2001:DB8::1]:", "[2001:db8::1]"),
        (b"", ""),
    ],
)
def test_hosts_compare_without_case_port_and_root_dot(raw: bytes, host: str) -> None:
    assert normal_host(raw) == host


@pytest.mark.parametrize(
    "raw",
    [
        b"a b",
        b"user@example.com",
        b"ex%61mple.com",
        b"example.com:http",
        b"example.com:99999",
        b"example.com:-1",
        b"a:1:2",
        b"a..b",
        b".example.com",
        b"example.com..",
        b"a,b",
        b"a/b",
        b"caf\xc3\xa9.example.com",
        b"[::1",
        b"[::1]x",
        b"[::1%eth0]",
        b"[v1.x]",
        b"[example.com]",
        b"::1",
        b"a\x00b",
        b"a" * 261,
    ],
)
def test_what_is_no_host_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- the kinds of message are not a contract
        normal_host(raw)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/", "/"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/a/", "/a/"),
        ("/a//b", "/a/b"),
        ("//a", "/a"),
        ("/a//", "/a/"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/.", "/"),
        ("/%61", "/a"),
        ("/a/%2e%2E/b", "/b"),
        ("/%2e/b", "/b"),
        ("/%73leep", "/sleep"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/caf%C3%A9", "/café"),
        ("/100%25", "/100%"),
        ("/%252e%252e/x", "/%2e%2e/x"),
        ("/a%3Fb", "/a?b"),
    ],
)
def test_paths_are_decoded_once_without_dot_segments_and_double_slashes(
    raw: str, path: str
) -> None:
    assert normal_path(raw) == path


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "a",
        "*",
        "/a%2Fb",
        "/a%2fb",
        "/a%5Cb",
        "/a\\b",
        "/a%00",
        "/a%0a",
        "/a%7F",
        "/a%C2%85",
        "/a\tb",
        "/a%",
        "/a%4",
        "/a%zz",
        "/a%+1",
        "/%ff",
        "/%C0%AE",
        "/é",
        "/..",
        "/../a",
        "/a/../../b",
        "/%2e%2e/a",
        "/a/..;/b",
        "/a/.;x/b",
        "/a/%2e%2e%3bx/b",
        "/a//../b",
        "/a//b/../../c",
        "/a#b",
    ],
)
def test_paths_that_read_in_two_ways_are_refused(raw: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- the kinds of message are not a contract
        normal_path(raw)


_raw_paths = st.lists(
    st.sampled_from(["/", "/", ".", "..", "a", "%2e", "%2E", "%61", "%20", ";", "%25"]), max_size=12
).map(lambda parts: "/" + "".join(parts))


@given(_raw_paths)
def test_a_normal_path_has_no_dot_segment_and_no_double_slash(raw: str) -> None:
    try:
        path = normal_path(raw)
    except ValueError:
        return
    assert path.startswith("/")
    assert "//" not in path
    assert not {".", ".."} & set(path.split("/"))


@pytest.mark.parametrize(
    ("raw", "rest"),
    [
        ("/llama/v1/x", "/v1/x"),
        ("/llama", "/"),
        ("/llama/", "/"),
        ("/llama/caf%c3%a9/%7E", "/caf%c3%a9/%7E"),
        ("/%6clama/v1", "/v1"),
        ("/llama//evil.example/x", "/evil.example/x"),
        ("//llama/a%20b", "/a%20b"),
        ("/x/../llama/a", "/a"),
        ("/llama/../llama/sl%65ep", "/sleep"),
        ("/llama/%2e%2e/llama/sleep", "/sleep"),
    ],
)
def test_a_stripped_path_means_what_was_matched(raw: str, rest: str) -> None:
    assert without_prefix(raw, "/llama", path=normal_path(raw)) == rest


def test_nothing_is_stripped_where_any_path_matched() -> None:
    assert without_prefix("/a/./b", "", path="/a/b") == "/a/./b"


@given(_raw_paths)
def test_stripping_never_lets_a_replica_see_another_path(raw: str) -> None:
    try:
        path = normal_path("/p" + raw)
    except ValueError:
        return
    if not (path == "/p" or path.startswith("/p/")):
        return
    assert normal_path(without_prefix("/p" + raw, "/p", path=path)) == (path[2:] or "/")


@pytest.mark.parametrize("path", ["/sleep", "/sleep/", "/sleep/x", "/sleep;x"])
def test_a_path_is_under_its_prefix_on_segment_boundaries(path: str) -> None:
    assert is_under(path, "/sleep")
    assert not is_under("/asleep", "/sleep")
    assert not is_under("/sleepy", "/sleep")
