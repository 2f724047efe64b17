"""`fallback`: what it may be, where a mistake stands, what is worth a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.core.endpoint import Fallback, Service
from tests.unit.config.support import endpoint, problems_of, settings_of, warnings_of

if TYPE_CHECKING:
    from pathlib import Path

TWO = """\
endpoints:
  - name: a
    match: {{hosts: [a.example]}}
    fallback: {{endpoint: {to}}}
    backend: {{type: process, command: [x, "{{port}}"]}}
  - name: b
    match: {{hosts: [b.example]}}
    {more}
    backend: {{type: static, urls: ["http://127.0.0.1:1"]}}
"""


def made(folder: Path, keys: str) -> Fallback | None:
    (one,) = settings_of(folder, endpoint(keys)).endpoints
    return one.fallback


def test_a_service_is_read_off_its_url_and_its_key_off_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sesame\n")
    url = "https://api.example.com:8443/openai/"
    assert made(tmp_path, f"fallback: {{url: '{url}', keyFile: key, maxPerDay: 7}}") == Fallback(
        Service("api.example.com", 8443, True, "/openai", "sesame"), max_per_day=7
    )
    assert made(tmp_path, "fallback: {url: 'http://[::1]', maxPerDay: 0}") == Fallback(
        Service("::1", 80, tls=False)
    )


def test_a_service_is_asked_a_thousand_times_a_day_where_nothing_is_said(tmp_path: Path) -> None:
    found = made(tmp_path, "fallback: {url: 'https://api.example.com'}")
    assert found == Fallback(Service("api.example.com", 443), max_per_day=1000)


def test_another_endpoint_has_no_limit_where_nothing_is_said(tmp_path: Path) -> None:
    found = settings_of(tmp_path, TWO.format(to="b", more="")).endpoints[0].fallback
    assert found == Fallback("b", max_per_day=0)
    found = settings_of(tmp_path, TWO.format(to="b, maxPerDay: 5", more="")).endpoints[0].fallback
    assert found == Fallback("b", max_per_day=5)


def test_there_is_none_unless_it_is_said(tmp_path: Path) -> None:
    assert made(tmp_path, "fallback: null") is None
    assert made(tmp_path, "") is None


def test_keys_are_shown_by_their_file_alone(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sesame")
    settings = settings_of(tmp_path, endpoint("fallback: {url: 'https://x', keyFile: key}"))
    assert settings.masked()["endpoints"][0]["fallback"]["keyFile"] == "key"
    assert "sesame" not in repr(settings) + str(settings.masked())


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("fallback: {}", "5: endpoints[0].fallback: has either `url` or `endpoint`, and not both"),
        (
            "fallback: {maxPerDay: 1}",
            "5: endpoints[0].fallback: has either `url` or `endpoint`, and not both",
        ),
        (
            "fallback:\n  url: https://x\n  endpoint: b",
            "5: endpoints[0].fallback: has either `url` or `endpoint`, and not both",
        ),
        (
            "fallback:\n  url: ftp://x",
            "6: endpoints[0].fallback.url: must be a URL like https://api.example.com",
        ),
        (
            "fallback:\n  url: https://me:secret@x",
            "6: endpoints[0].fallback.url: has only a host and a path; a key belongs into"
            " `keyFile`",
        ),
        (
            "fallback:\n  url: https://x/?key=1",
            "6: endpoints[0].fallback.url: has only a host and a path; a key belongs into"
            " `keyFile`",
        ),
        (
            "fallback:\n  url: https://x:0",
            "6: endpoints[0].fallback.url: nothing can be reached at port 0",
        ),
        (
            "fallback:\n  url: https://x/a b",
            "6: endpoints[0].fallback.url: must have only what a request target may have",
        ),
        (
            "fallback:\n  url: https://x\n  model: far",
            "7: endpoints[0].fallback.model: needs `dialect: openai`: other bodies are not read",
        ),
        ("fallback: {endpoint: b}", "5: endpoints[0].fallback.endpoint: there is no endpoint `b`"),
        ("fallback: {endpoint: a}", "5: endpoints[0].fallback.endpoint: is the endpoint itself"),
    ],
)
def test_mistakes_are_told_by_their_line(tmp_path: Path, keys: str, said: str) -> None:
    assert said in problems_of(tmp_path, endpoint(keys))


def test_a_key_must_be_there_and_be_one(tmp_path: Path) -> None:
    text = endpoint("fallback:\n  url: https://x\n  keyFile: key")
    at = "7: endpoints[0].fallback.keyFile: "
    assert problems_of(tmp_path, text) == [
        f"{at}cannot read {tmp_path}/key: No such file or directory"
    ]
    (tmp_path / "key").write_text("")
    assert problems_of(tmp_path, text) == [f"{at}{tmp_path}/key is empty"]
    (tmp_path / "key").write_text("one\ntwo")
    assert problems_of(tmp_path, text) == [f"{at}a key is one line of printable ASCII"]


def test_an_endpoint_needs_no_key(tmp_path: Path) -> None:
    assert problems_of(tmp_path, TWO.format(to="b, keyFile: k", more="")) == [
        "4: endpoints[0].fallback.keyFile: belongs to `url`: an endpoint of this file needs no key"
    ]


@pytest.mark.parametrize("more", ["fallback: {endpoint: a}", "fallback: {url: 'https://x'}"])
def test_a_request_goes_no_further_than_to_one(tmp_path: Path, more: str) -> None:
    found = problems_of(tmp_path, TWO.format(to="b", more=more))
    assert (
        "4: endpoints[0].fallback.endpoint: `b` has a fallback itself: a request goes no further"
        " than to one"
    ) in found


def test_the_defaults_may_name_one_that_does_without(tmp_path: Path) -> None:
    text = "defaults: {fallback: {endpoint: b}}\n" + TWO.format(to="b", more="fallback: null")
    one, other = settings_of(tmp_path, text).endpoints
    assert one.fallback == Fallback("b")
    assert other.fallback is None


def test_one_that_may_be_at_zero_too_is_worth_a_warning(tmp_path: Path) -> None:
    text = TWO.format(to="b", more="")
    assert not [it for it in warnings_of(tmp_path, text) if "fallback" in it]
    asleep = text.replace('static, urls: ["http://127.0.0.1:1"]', 'process, command: [x, "{port}"]')
    assert (
        "4: endpoints[0].fallback.endpoint: `b` may be at zero too (scale.min), and is not woken"
        " for it"
    ) in warnings_of(tmp_path, asleep)


@pytest.mark.parametrize(
    ("keys", "warned"),
    [
        (
            "fallback: {url: 'http://x.example', keyFile: key}",
            "is not https: the key crosses the network unencrypted",
        ),
        (
            "dialect: openai\nfallback: {url: 'https://x.example/v1/'}",
            "ends with /v1, with which the paths of requests begin: it would be asked for /v1/v1/…",
        ),
        ("fallback: {url: 'http://127.0.0.1:4000', keyFile: key}", None),
        ("fallback: {url: 'http://x.example'}", None),
        ("fallback: {url: 'https://x.example/v1'}", None),
    ],
)
def test_what_is_suspicious_is_said(tmp_path: Path, keys: str, warned: str | None) -> None:
    (tmp_path / "key").write_text("sesame")
    found = [it for it in warnings_of(tmp_path, endpoint(keys)) if "fallback" in it]
    line = 4 + len(keys.splitlines())
    assert found == ([f"{line}: endpoints[0].fallback.url: {warned}"] if warned else [])
