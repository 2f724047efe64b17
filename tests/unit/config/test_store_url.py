"""Addresses of the store: what they may look like, and what is said about those that may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from activator.config.store_url import Kind, StoreTls, StoreUrl, has_password, parse_store_url
from tests.unit.config.support import MINIMAL, problems_of, settings_of

ONE = (("store", 6379),)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("memory://", StoreUrl(Kind.MEMORY)),
        ("memory+lease://activator", StoreUrl(Kind.LEASE, lease="activator")),
        (
            "memory+lease://llm/activator-1",
            StoreUrl(Kind.LEASE, lease="activator-1", namespace="llm"),
        ),
        ("redis://store", StoreUrl(Kind.SINGLE, ONE)),
        ("redis://store/", StoreUrl(Kind.SINGLE, ONE)),
        ("REDIS://store:7000/3", StoreUrl(Kind.SINGLE, (("store", 7000),), db=3)),
        ("redis://store?db=3", StoreUrl(Kind.SINGLE, ONE, db=3)),
        ("redis://[::1]:7000", StoreUrl(Kind.SINGLE, (("::1", 7000),))),
        ("redis://[::1]", StoreUrl(Kind.SINGLE, (("::1", 6379),))),
        ("redis://:p%40ss@store", StoreUrl(Kind.SINGLE, ONE, password="p@ss")),
        ("redis://me:a:b@store", StoreUrl(Kind.SINGLE, ONE, username="me", password="a:b")),
        ("rediss://store", StoreUrl(Kind.SINGLE, ONE, tls=StoreTls())),
        ("redis://store?ssl=true", StoreUrl(Kind.SINGLE, ONE, tls=StoreTls())),
        (
            "rediss://store?ssl_ca_certs=ca.pem&ssl_check_hostname=false",
            StoreUrl(Kind.SINGLE, ONE, tls=StoreTls(ca_certs=Path("ca.pem"), check_hostname=False)),
        ),
        (
            "rediss://store?ssl_certfile=/a&ssl_keyfile=/b",
            StoreUrl(Kind.SINGLE, ONE, tls=StoreTls(certfile=Path("/a"), keyfile=Path("/b"))),
        ),
        (
            "redis+sentinel://me:pw@a,b:1/main/2?sentinel_password=s",
            StoreUrl(
                Kind.SENTINEL,
                (("a", 26379), ("b", 1)),
                username="me",
                password="pw",
                db=2,
                service="main",
                sentinel_password="s",
            ),
        ),
        (
            "redis+cluster://a:1,b:2,[::1]:3",
            StoreUrl(Kind.CLUSTER, (("a", 1), ("b", 2), ("::1", 3))),
        ),
    ],
)
def test_an_address_is_taken_apart(text: str, url: StoreUrl) -> None:
    assert parse_store_url(text) == url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be memory://"),
        ("memory", "must be memory://"),
        ("memory://x", "must be memory://"),
        ("http://store", "must be memory://"),
        ("memory+lease://", "names no Lease"),
        ("memory+lease:///activator", "names no Lease"),
        ("memory+lease://llm/", "names no Lease"),
        ("memory+lease://a/b/c", "names no Lease"),
        ("memory+lease://Activator", "names no Lease"),
        ("redis:store", "must be memory://"),
        ("redis://", "names no host"),
        ("redis://:6379", "names no host"),
        ("redis://a b", "names no host"),
        ("redis://store:port", "has a port that is none"),
        ("redis://store:0", "has a port that is none"),
        ("redis://store:65536", "has a port that is none"),
        ("redis://::1", "IPv6"),
        ("redis://[::1", "IPv6"),
        ("redis://[::1]7000", "IPv6"),
        ("redis://store/first", "not a number"),
        ("redis://store/1/2", "not a number"),
        ("redis://store?db=-1", "not a number"),
        ("redis://a,b", "names several hosts"),
        ("redis://store#1", "%23"),
        ("redis://store?socket_timeout=3", "unknown parameter `socket_timeout`"),
        ("redis://store?db=1&db=2", "twice"),
        ("redis://store?ssl_ca_certs=x", "without ssl=true"),
        ("redis://store?ssl=perhaps", "true or false"),
        ("rediss://store?ssl=false", "ssl=false"),
        ("rediss://store?ssl_keyfile=x", "without `ssl_certfile`"),
        ("redis+sentinel://a,b", "names no service"),
        ("redis+sentinel://a,b/main/x", "not a number"),
        ("redis+cluster://a/1", "a cluster has only 0"),
        ("redis+cluster://a?db=1", "unknown parameter `db`"),
        ("redis+cluster://a,,b", "names no host"),
        ("redis://store?sentinel_password=x", "unknown parameter"),
    ],
)
def test_an_address_that_is_none_is_explained(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_store_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "redis://:hush@store",
        "redis://me:hush@store:6379/0",
        "redis://store:port@hush:hush@x",
        "redis+sentinel://a/main?sentinel_password=hush",
        "nonsense://x:hush@y",
    ],
)
def test_a_password_is_found_wherever_it_stands(text: str) -> None:
    assert has_password(text)


def test_a_user_alone_is_no_password() -> None:
    assert not has_password("redis://me@store")
    assert not has_password("redis://store:6379")


def test_a_url_shows_no_password() -> None:
    url = parse_store_url("redis+sentinel://:hush@a/main?sentinel_password=hush")
    assert "hush" not in repr(url)


# --- in a configuration -------------------------------------------------------------------------


def test_the_store_of_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    text = "store: {url: 'rediss://store:7000/1?ssl_ca_certs=ca.pem', prefix: a:b}\n" + MINIMAL
    store = settings_of(tmp_path, text).store
    assert store.url.addresses == (("store", 7000),)
    assert store.url.tls == StoreTls(ca_certs=tmp_path / "ca.pem")
    assert store.prefix == "a:b"


def test_a_password_comes_from_outside(tmp_path: Path) -> None:
    text = 'store: {url: "${STORE}"}\n' + MINIMAL
    settings = settings_of(tmp_path, text, environ={"STORE": "redis://:hush@store"})
    assert settings.store.url.password == "hush"
    assert "hush" not in repr(settings) + str(settings.masked())

    (tmp_path / "url").write_text("redis://:other@store\n")
    settings = settings_of(tmp_path, "store: {url: 'file:url'}\n" + MINIMAL)
    assert settings.store.url.password == "other"


@pytest.mark.parametrize(
    ("store", "problem"),
    [
        ("url: redis", "store.url: must be memory://, memory+lease://, redis://, rediss://"),
        ("url: 'redis://:hush@s'", "store.url: a password is never written here"),
        ("url: 'redis+sentinel://s'", "store.url: names no service"),
        ("url: 'rediss://s?ssl_ca_certs=ca.pem'", "store.url: "),
        ("prefix: 'a{b}'", "store.prefix: cannot have braces"),
    ],
)
def test_a_store_that_cannot_be_is_a_problem(tmp_path: Path, store: str, problem: str) -> None:
    (line,) = problems_of(tmp_path, f"store: {{{store}}}\n{MINIMAL}")
    assert line.startswith(f"1: {problem}")
    assert "hush" not in line


@pytest.mark.parametrize(
    "backend",
    [
        "{type: process, command: [serve, '{port}']}",
        "{type: docker, container: llama, port: 8000}",
    ],
)
def test_replicas_that_no_other_could_take_over_cannot_be_with_a_lease(
    tmp_path: Path, backend: str
) -> None:
    text = (
        "store: {url: 'memory+lease://activator'}\n"
        f"endpoints: [{{name: a, match: {{hosts: [a.example]}}, backend: {backend}}}]\n"
    )
    (line,) = problems_of(tmp_path, text)
    kind = "process" if "process" in backend else "docker"
    assert line.startswith(f"2: endpoints[0].backend.type: `{kind}` cannot be where store.url is")


@pytest.mark.parametrize(
    "backend",
    [
        "{type: kubernetes, namespace: models, target: Deployment/a, port: http}",
        "{type: static, urls: ['http://10.0.0.7:8000']}",
    ],
)
def test_replicas_that_belong_to_no_activator_can(tmp_path: Path, backend: str) -> None:
    text = (
        "store: {url: 'memory+lease://activator'}\n"
        f"endpoints: [{{name: a, match: {{hosts: [a.example]}}, backend: {backend}}}]\n"
    )
    assert settings_of(tmp_path, text).store.url.lease == "activator"
