"""How those are configured that the activator is measured beside, and what they are asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench import chat, peers
from bench.contestants import ROUTERS, plain, routers
from bench.failure import BenchError

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

UPSTREAM = ("127.0.0.1", 8000)


def test_a_chat_is_two_kib_up_and_four_down_and_names_the_model_first() -> None:
    assert len(chat.request()) == 2048
    assert len(chat.completion()) == 4096
    asked, answered = json.loads(chat.request()), json.loads(chat.completion())
    assert next(iter(asked)) == "model"
    assert asked["model"] == answered["model"] == chat.MODEL
    assert answered["choices"][0]["message"]["content"]
    assert json.loads(chat.models())["data"][0]["id"] == chat.MODEL


def test_routers_know_the_model_at_the_same_plain_server() -> None:
    swap = routers.llama_swap_configuration(UPSTREAM)
    lite = routers.litellm_configuration(UPSTREAM)

    assert swap["peers"] == {"plain": {"proxy": "http://127.0.0.1:8000", "models": [chat.MODEL]}}
    assert swap["models"] == {}, "nothing to start"
    (model,) = lite["model_list"]
    assert model["model_name"] == chat.MODEL
    assert model["litellm_params"]["api_base"] == "http://127.0.0.1:8000/v1"
    assert lite["litellm_settings"]["num_retries"] == 0


def test_plain_proxies_have_one_worker_and_write_no_log_of_requests(tmp_path: Path) -> None:
    nginx = plain.nginx_configuration(tmp_path, UPSTREAM, port=1)
    haproxy = plain.haproxy_configuration(UPSTREAM, port=1)

    assert "worker_processes 1;" in nginx
    assert "access_log off;" in nginx
    assert "access_log" not in nginx.replace("access_log off;", "")
    assert "nbthread 1" in haproxy
    assert not any(line.split()[:1] == ["log"] for line in haproxy.splitlines())


def test_each_router_is_named_as_its_package_and_says_what_installs_it() -> None:
    assert [router.name for router in ROUTERS] == list(peers.NAMES.values())
    assert {router.comes_with for router in ROUTERS} == {"make bench-peers"}


def test_versions_are_told_of_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "litellm" / "bin" / "litellm"
    installed = tmp_path / "litellm" / "lib" / "python3.11" / "site-packages"
    information = installed / "litellm-1.2.3.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Name: litellm\nVersion: 1.2.3\n", encoding="utf-8")
    monkeypatch.setattr(peers, "LLAMA_SWAP", tmp_path / "none")
    monkeypatch.setattr(peers, "REQUIREMENTS", {program: "litellm[proxy]"})
    monkeypatch.setattr(peers, "NAMES", {program: "litellm"})

    assert peers.versions() == {"litellm": "1.2.3"}


def test_what_cannot_be_installed_is_named_and_the_others_are_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed: list[str] = []

    def install(_program: Path, requirement: str) -> None:
        if requirement == "vllm-router":
            raise BenchError("no matching distribution found")
        installed.append(requirement)

    monkeypatch.setattr(peers, "install_package", install)
    monkeypatch.setattr(peers, "install_llama_swap", lambda: installed.append("llama-swap"))

    status = peers.main()

    assert status == 1
    assert installed == ["llama-swap", "sglang-router", "litellm[proxy]"]
    said = capsys.readouterr().err
    assert said == "vllm-router: cannot be installed, left out: no matching distribution found\n"
