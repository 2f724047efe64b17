"""Who may be called, and how a call is signed."""

from __future__ import annotations

import pytest

from activator.core.webhooks import WebhookPolicy, checked_url, may_call_all, signature

POLICY = WebhookPolicy(allow=("hooks.example.com", "*.example.org", "127.0.0.1"), secret="s")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/x?y=1",
        "http://HOOKS.example.com:8080/",
        "https://a.b.example.org/",
        "https://hooks.example.com./",
    ],
)
def test_hosts_that_are_allowed_may_be_called(url: str) -> None:
    assert checked_url(url, POLICY) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://evil-hooks.example.com/",
        "https://example.org/",
        "https://badexample.org/",
        "ftp://hooks.example.com/",
        "hooks.example.com",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com@evil.test/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com/\r\nX: y",
        "http://127.0.0.1/",
        "https://hooks.example.com/" + "x" * 3000,
    ],
)
def test_others_may_not(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        checked_url(url, POLICY)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_private_addresses_are_called_only_where_that_is_allowed(address: str) -> None:
    assert not may_call_all(["93.184.215.14", address], POLICY)
    assert may_call_all([address], WebhookPolicy(private_addresses=True))


def test_a_name_without_addresses_is_not_called() -> None:
    assert not may_call_all([], WebhookPolicy(private_addresses=True))


def test_public_addresses_are_called() -> None:
    assert may_call_all(["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"], POLICY)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # the example of the specification's reference libraries
    signed = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
