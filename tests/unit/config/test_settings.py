"""From a file to settings: values, defaults, files beside it, overrides, what is shown of it."""

from __future__ import annotations

import sys
from collections import Counter
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from activator.config.schema import Document
from activator.config.settings import Limits, Server, Settings, Tls, load
from activator.config.store_url import Kind, StoreUrl
from activator.core.endpoint import (
    Endpoint,
    Match,
    NeverWake,
    ProcessBackend,
    QueuePolicy,
    ScalePolicy,
    StaticBackend,
    Timeouts,
)
from activator.core.jobs import JobsPolicy
from activator.errors import ConfigError
from tests.unit.config.support import MINIMAL, endpoint, problems_of, settings_of

if TYPE_CHECKING:
    from types import FrameType

REPOSITORY = Path(__file__).parents[3]
REFERENCE = REPOSITORY / "config" / "reference.yaml"


def test_the_least_configuration_has_every_default(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, MINIMAL)
    assert settings.server == Server(
        listen=(("0.0.0.0", 8080),),
        admin=("127.0.0.1", 9090),
        drain_delay=5.0,
        shutdown_grace=600.0,
        held_memory=64 << 20,
        trusted_proxies=(),
        tls=None,
        limits=Limits(16 << 10, 64 << 10, 200, 15.0, 60.0, 75.0, 0),
    )
    assert settings.store.url == StoreUrl(Kind.MEMORY)
    assert settings.store.max_bytes == 4 << 30
    assert settings.auth.api_keys_file is None
    (only,) = settings.endpoints
    assert only == Endpoint(
        name="a",
        backend=ProcessBackend(command=("serve", "--port", "{port}")),
        never_wake=(NeverWake("/favicon.ico", 404),),
    )


def test_the_core_and_the_file_have_the_same_defaults(tmp_path: Path) -> None:
    (only,) = settings_of(tmp_path, MINIMAL).endpoints
    assert (only.scale, only.queue, only.timeouts) == (ScalePolicy(), QueuePolicy(), Timeouts())


def test_values_arrive_in_seconds_bytes_and_normal_forms(tmp_path: Path) -> None:
    keys = """\
match: {hosts: [LLM.Example.com., "*.B.test"], paths: [/v1/, /a%20b], headers: {X-Team: ml}}
stripPrefix: true
scale: {max: 4, idleTimeout: 90, startTimeout: 1m30s, owner: activator}
concurrency: 3
queue: {maxBytes: 1MB, bestUrgency: 0}
balance: prefix_hash
affinity: {header: X-Session}
blockPaths: [/sleep/, /wake_up]
neverWake: [{path: /health}]
costPerReplicaHour: 2.5
"""
    (only,) = settings_of(
        tmp_path, endpoint(keys, backend='static, urls: ["http://10.0.0.7", "http://[::1]:81/"]')
    ).endpoints
    assert only.match == Match(
        hosts=("llm.example.com", "*.b.test"), paths=("/v1", "/a b"), headers=(("x-team", "ml"),)
    )
    assert only.backend == StaticBackend((("10.0.0.7", 80), ("::1", 81)))
    assert (only.scale.idle_timeout, only.scale.start_timeout) == (90.0, 90.0)
    assert only.scale.target_concurrency == 3.0
    assert (only.queue.max_bytes, only.queue.best_urgency) == (1_000_000, 0)
    assert (only.affinity_header, only.block_paths) == ("x-session", ("/sleep", "/wake_up"))
    assert only.never_wake == (NeverWake("/health", 200),)
    assert only.strip_prefix


def test_any_host_among_hosts_is_any_host(tmp_path: Path) -> None:
    (only,) = settings_of(tmp_path, endpoint('match: {hosts: [a.test, "*"]}')).endpoints
    assert only.match.hosts == ()


def test_several_addresses_of_all_kinds_can_be_listened_at(tmp_path: Path) -> None:
    text = 'server: {listen: [":80", 81, "[::1]:82", "localhost:0", "*:83"]}\n' + MINIMAL
    assert settings_of(tmp_path, text).server.listen == (
        ("0.0.0.0", 80),
        ("0.0.0.0", 81),
        ("::1", 82),
        ("localhost", 0),
        ("0.0.0.0", 83),
    )


def test_one_address_needs_no_list(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "server: {listen: 127.0.0.1:8080}\n" + MINIMAL)
    assert settings.server.listen == (("127.0.0.1", 8080),)


def test_trusted_proxies_are_networks(tmp_path: Path) -> None:
    text = "server: {trustedProxies: [10.0.0.0/8, '::1']}\n" + MINIMAL
    networks = settings_of(tmp_path, text).server.trusted_proxies
    assert networks == (ip_network("10.0.0.0/8"), ip_network("::1/128"))


def test_defaults_are_merged_under_each_endpoint(tmp_path: Path) -> None:
    text = """\
defaults:
  scale: {max: 3, idleTimeout: 1m}
  blockPaths: [/sleep]
endpoints:
  - {name: a, match: {hosts: [a.test]}, backend: {type: static, urls: ["http://x:1"]}}
  - name: b
    backend: {type: static, urls: ["http://x:1"]}
    scale: {max: 5}
    blockPaths: []
  - {name: c, match: {hosts: [c.test]}, backend: {type: static, urls: ["http://x:1"]}, scale: null}
"""
    a, b, c = settings_of(tmp_path, text).endpoints
    assert (a.scale.max, a.scale.idle_timeout, a.block_paths) == (3, 60.0, ("/sleep",))
    assert (b.scale.max, b.scale.idle_timeout, b.block_paths) == (5, 60.0, ())
    assert c.scale == ScalePolicy()


def test_null_and_empty_sections_mean_their_defaults(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "server:\nstore: {url: null}\ndefaults:\n" + MINIMAL)
    assert settings == settings_of(tmp_path, MINIMAL)


def test_no_endpoints_is_a_configuration_but_no_word_of_them_is_not(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "endpoints: []\n")
    assert settings.endpoints == ()
    assert any("there is none" in warning for warning in settings.warnings)
    assert problems_of(tmp_path, "server: {}\n") == ["1: endpoints: is required"]


def test_a_part_that_misses_a_key_does_not_hide_what_is_wrong_in_others(tmp_path: Path) -> None:
    text = f"server: {{tls: {{certFile: c.pem}}}}\nstore: {{url: nonsense://}}\n{MINIMAL}"

    problems = problems_of(tmp_path, text)

    assert problems[0] == "1: server.tls.keyFile: is required"
    assert problems[1].startswith("2: store.url: must be memory://")


def test_files_are_relative_to_the_configuration(tmp_path: Path) -> None:
    for name in ("keys", "token", "tls.crt", "tls.key"):
        (tmp_path / name).write_text("x")
    (tmp_path / "work").mkdir()
    text = """\
server: {admin: ":9090", tls: {certFile: tls.crt, keyFile: ./tls.key}}
auth: {apiKeysFile: keys, adminTokenFile: token}
endpoints:
  - {name: a, backend: {type: process, command: ["{port}"], cwd: work}}
"""
    settings = settings_of(tmp_path, text)
    assert settings.server.tls == Tls(tmp_path / "tls.crt", tmp_path / "tls.key")
    assert settings.auth.api_keys_file == tmp_path / "keys"
    assert settings.auth.admin_token_file == tmp_path / "token"
    backend = settings.endpoints[0].backend
    assert isinstance(backend, ProcessBackend)
    assert backend.cwd == str(tmp_path / "work")


def test_files_that_are_not_there_are_problems(tmp_path: Path) -> None:
    text = """\
server: {tls: {certFile: tls.crt, keyFile: tls.key}}
auth:
  apiKeysFile: keys
  adminTokenFile: .
endpoints:
  - {name: a, backend: {type: process, command: ["{port}"], cwd: work}}
"""
    assert problems_of(tmp_path, text) == [
        f"1: server.tls.certFile: {tmp_path}/tls.crt cannot be read",
        f"1: server.tls.keyFile: {tmp_path}/tls.key cannot be read",
        f"3: auth.apiKeysFile: {tmp_path}/keys cannot be read",
        f"4: auth.adminTokenFile: cannot read {tmp_path}: Is a directory",
        f"6: endpoints[0].backend.cwd: {tmp_path}/work is not a directory",
    ]


def test_an_empty_admin_token_is_none(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    assert problems_of(tmp_path, "auth: {adminTokenFile: token}\n" + MINIMAL) == [
        f"1: auth.adminTokenFile: {tmp_path}/token is empty"
    ]


def test_a_file_that_is_not_there_is_a_problem_without_a_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "absent.yaml")
    assert caught.value.problems == [
        f"{tmp_path}/absent.yaml: cannot be read: No such file or directory"
    ]


def test_environment_of_a_process_may_come_from_the_environment(tmp_path: Path) -> None:
    keys = 'process, command: ["{port}"], env: {TOKEN: "${SECRET}", N: 4, P: "{port}"}'
    settings = settings_of(tmp_path, endpoint("", backend=keys), environ={"SECRET": "hush"})
    backend = settings.endpoints[0].backend
    assert isinstance(backend, ProcessBackend)
    assert backend.env == (("TOKEN", "hush"), ("N", "4"), ("P", "{port}"))


def test_an_unset_variable_is_a_problem(tmp_path: Path) -> None:
    text = 'store: {url: "${STORE}"}\n' + MINIMAL.replace("command:", "env: {A: '${B}'}, command:")
    assert problems_of(tmp_path, text) == [
        "1: store.url: the environment has no STORE",
        "4: endpoints[0].backend.env.A: the environment has no B",
    ]


def test_jobs_have_their_section(tmp_path: Path) -> None:
    assert settings_of(tmp_path, MINIMAL).jobs == JobsPolicy()
    text = (
        "jobs: {maxBody: 1KiB, maxResult: 2KiB, ttl: 1h, retention: 2h, attempts: 1, joinGrace: 0}"
    )
    assert settings_of(tmp_path, f"{text}\n{MINIMAL}").jobs == JobsPolicy(
        max_body=1024, max_result=2048, ttl=3600.0, retention=7200.0, attempts=1, join_grace=0.0
    )


def test_the_store_may_be_a_reference(tmp_path: Path) -> None:
    text = 'store: {url: "${STORE}"}\n' + MINIMAL
    settings = settings_of(tmp_path, text, environ={"STORE": "memory://"})
    assert settings.store.url == StoreUrl(Kind.MEMORY)
    assert settings.masked()["store"]["url"] == "${STORE}"
    (problem,) = problems_of(tmp_path, text, environ={"STORE": "http://:hush@store"})
    assert problem.startswith("1: store.url: must be memory://, memory+lease://, redis://")
    assert "hush" not in problem


def test_overrides_win_over_the_file_and_their_mistakes_are_not_blamed_on_it(
    tmp_path: Path,
) -> None:
    text = "server: {listen: 127.0.0.1:1}\n" + MINIMAL
    overrides: dict[str, Any] = {"server.listen": ["127.0.0.1:2"], "server.admin": "localhost:3"}
    server = settings_of(tmp_path, text, overrides=overrides).server
    assert (server.listen, server.admin) == ((("127.0.0.1", 2),), ("localhost", 3))
    (problem,) = problems_of(tmp_path, text, overrides={"server.listen": ["nowhere"]})
    assert problem.startswith("option or environment: server.listen[0]: an address is written")


def test_what_is_shown_is_a_configuration_again_and_the_same_one(tmp_path: Path) -> None:
    text = """\
server: {listen: ["[::1]:1", 127.0.0.1:2], trustedProxies: [10.0.0.0/8], heldMemory: 1000}
jobs: {maxBody: 1MiB, ttl: 90m}
defaults: {scale: {max: 2, idleTimeout: 1m30s}, timeouts: {firstByte: 50ms}}
endpoints:
  - name: a
    match: {hosts: [a.test], headers: {x: "1"}}
    backend: {type: process, command: ["{port}"]}
  - {name: b, backend: {type: static, urls: ["http://[::1]:1"]}, concurrency: 5}
"""
    settings = settings_of(tmp_path, text)
    again = settings_of(tmp_path, yaml.safe_dump(settings.masked()))
    assert again == settings
    assert again.masked() == settings.masked()


def test_secrets_are_shown_as_references_or_not_at_all(tmp_path: Path) -> None:
    keys = 'process, command: ["{port}"], env: {HF_TOKEN: hush, B: "${SECRET}", LEVEL: debug}'
    settings = settings_of(tmp_path, endpoint("", backend=keys), environ={"SECRET": "hush"})
    env = settings.masked()["endpoints"][0]["backend"]["env"]
    assert env == {"HF_TOKEN": "********", "B": "${SECRET}", "LEVEL": "debug"}
    assert "hush" not in str(settings.masked())


def test_the_defaults_of_what_is_declared_elsewhere_are_shown(tmp_path: Path) -> None:
    text = """\
server: {listen: 127.0.0.1:0}
sources: {kubernetes: {namespaces: [m], allow: {m: {hosts: ["*.m.example"]}}}}
defaults: {scale: {max: 2, idleTimeout: 90}, concurrency: 4}
endpoints: []
"""
    settings = settings_of(tmp_path, text)
    shown = yaml.safe_load(yaml.safe_dump(settings.masked()))
    assert shown["defaults"] == {"scale": {"max": 2, "idleTimeout": "90s"}, "concurrency": 4}
    again = settings_of(tmp_path, yaml.safe_dump(shown))
    assert again.declared == settings.declared


def test_what_is_shown_cannot_change_what_is_in_force(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, MINIMAL)
    settings.masked()["endpoints"].clear()
    assert len(settings.masked()["endpoints"]) == 1


def test_settings_are_equal_if_they_mean_the_same(tmp_path: Path) -> None:
    assert settings_of(tmp_path, MINIMAL) == settings_of(tmp_path, "# a comment\n" + MINIMAL)
    assert settings_of(tmp_path, MINIMAL) != settings_of(tmp_path, endpoint(""))


def paths(shown: object, under: str = "") -> set[str]:
    match shown:
        case dict():
            inner = [paths(value, f"{under}.{key}") for key, value in shown.items()]
            return {under}.union(*inner) if inner else {under}
        case list() if shown and isinstance(shown[0], dict):
            return paths(shown[0], under + "[]")
    return {under}


@pytest.fixture(scope="module")
def reference() -> Settings:
    return load(REFERENCE, environ={})


def test_the_reference_has_every_key_of_this_version(reference: Settings) -> None:
    written = yaml.safe_load(REFERENCE.read_text("utf-8"))
    missing = paths(reference.masked()) - paths(written)
    assert missing == set()


def test_the_reference_has_every_key_at_its_default(reference: Settings, tmp_path: Path) -> None:
    least = settings_of(tmp_path, MINIMAL)
    assert reference.server == least.server
    assert reference.store == least.store
    assert reference.auth == least.auth
    said, default = reference.masked()["endpoints"][0], least.masked()["endpoints"][0]
    for key in default.keys() - {"name", "backend"}:
        assert said[key] == default[key], key
    backend, least_backend = said["backend"], default["backend"]
    assert {**backend, "command": None} == {**least_backend, "command": None}


@pytest.mark.parametrize(
    "path", sorted(REPOSITORY.glob("config/**/*.yaml")), ids=lambda path: path.name
)
def test_every_configuration_that_we_ship_is_valid(path: Path) -> None:
    assert load(path, environ={}).endpoints


def test_the_schema_accepts_what_the_reader_accepts(reference: Settings) -> None:
    Document.model_validate(yaml.safe_load(REFERENCE.read_text("utf-8")))
    assert Document.model_validate(reference.masked()).endpoints


def test_paths_of_operation_are_blocked_where_openai_is_spoken(tmp_path: Path) -> None:
    (spoken,) = settings_of(tmp_path, endpoint("dialect: openai")).endpoints
    (plain,) = settings_of(tmp_path, endpoint("dialect: plain")).endpoints
    (opened,) = settings_of(tmp_path, endpoint("dialect: openai\nblockPaths: []")).endpoints

    assert {"/sleep", "/wake_up", "/collective_rpc", "/pause"} <= set(spoken.block_paths)
    assert plain.block_paths == opened.block_paths == ()


def test_what_is_blocked_is_shown_with_the_configuration(tmp_path: Path) -> None:
    shown = settings_of(tmp_path, endpoint("dialect: openai")).masked()

    assert "/sleep" in shown["endpoints"][0]["blockPaths"]


def test_how_bodies_are_read_for_their_model(tmp_path: Path) -> None:
    usual = settings_of(tmp_path, MINIMAL).openai
    said = settings_of(tmp_path, "openai: {defaultModel: m, peekBytes: 1MiB}\n" + MINIMAL).openai

    assert (usual.default_model, usual.peek_bytes) == (None, 32 << 20)
    assert (said.default_model, said.peek_bytes) == ("m", 1 << 20)


def test_what_endpoints_have_alike_is_read_once_and_shared(tmp_path: Path) -> None:
    def calls(endpoints: int) -> int:
        """Of functions of ours, to read so many: the same on every machine."""
        text = "endpoints:\n" + "".join(
            f"- name: e-{number}\n  match: {{hosts: [e-{number}]}}\n"
            "  backend: {type: process, command: [serve, --port, '{port}']}\n"
            for number in range(endpoints)
        )
        seen = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal seen
            ours = frame.f_globals.get("__name__", "").startswith("activator.")
            seen += event == "call" and ours

        sys.setprofile(count)
        try:
            settings = settings_of(tmp_path, text)
        finally:
            sys.setprofile(None)
        first, *others = settings.endpoints
        for one in others:
            assert one.probe is first.probe
            assert one.scale is first.scale
            assert one.queue is first.queue
            assert one.timeouts is first.timeouts
            assert one.never_wake is first.never_wake
        return seen

    calls(2)  # what is read for the first time is kept
    assert (calls(120) - calls(20)) / 100 < 145


def test_sections_that_differ_are_not_shared(tmp_path: Path) -> None:
    text = "endpoints:\n" + "".join(
        f"- name: {name}\n  match: {{hosts: [{name}]}}\n  scale: {{max: {most}}}\n"
        "  backend: {type: static, urls: ['http://127.0.0.1:9']}\n"
        for name, most in (("a", 2), ("b", 3))
    )

    one, other = settings_of(tmp_path, text).endpoints

    assert (one.scale.max, other.scale.max) == (2, 3)
    assert one.queue is other.queue


def several(*heartbeats: str) -> str:
    return "endpoints:\n" + "".join(
        f"- name: e-{number}\n  match: {{hosts: [e-{number}]}}\n  heartbeat: {heartbeat}\n"
        f"  backend: {{type: process, command: [serve, '{{port}}'], env: {{A: '${{A}}'}}}}\n"
        for number, heartbeat in enumerate(heartbeats)
    )


def test_what_a_file_says_as_before_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "activator.yaml"
    path.write_text(several("1s", "2s", "3s"))
    before = load(path, environ={"A": "1"})
    path.write_text("# moved by a line\n" + several("1s", "9s", "3s", "4s"))
    after = load(path, environ={"A": "1"}, known=before)

    assert after == load(path, environ={"A": "1"})
    assert after.masked() == load(path, environ={"A": "1"}).masked()
    same = [one is other for one, other in zip(before.endpoints, after.endpoints, strict=False)]
    assert same == [True, False, True]
    kept = [one is other for one, other in zip(before._declared, after._declared, strict=False)]
    assert kept == [True, False, True]
    assert [each.heartbeat for each in after.endpoints] == [1.0, 9.0, 3.0, 4.0]


def test_what_is_meant_by_the_same_words_is_looked_at_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "activator.yaml"
    path.write_text(several("1s"))
    before = load(path, environ={"A": "1"})
    after = load(path, environ={"A": "2"}, known=before)

    assert after.endpoints != before.endpoints
    assert after == load(path, environ={"A": "2"})
    with pytest.raises(ConfigError):
        load(path, environ={}, known=before)


def test_what_goes_wrong_is_told_by_its_line_beside_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "activator.yaml"
    path.write_text(several("1s", "2s"))
    before = load(path, environ={"A": "1"})
    path.write_text(several("1s", "2s") + several("3s").removeprefix("endpoints:\n"))
    with pytest.raises(ConfigError) as twice:
        load(path, environ={"A": "1"}, known=before)

    with pytest.raises(ConfigError) as anew:
        load(path, environ={"A": "1"})
    assert twice.value.problems == anew.value.problems


def test_whoever_reads_thousands_may_rest_at_every_step(tmp_path: Path) -> None:
    path = tmp_path / "activator.yaml"
    path.write_text(several(*["1s"] * 200))
    frames: Counter[str] = Counter()

    def breathe() -> None:
        frames[sys._getframe(1).f_code.co_name] += 1

    rested = load(path, environ={"A": "1"}, breathe=breathe)

    assert rested == load(path, environ={"A": "1"})
    assert frames["resolve"] >= 200  # libyaml composes
    assert frames["value"] >= 200
    assert frames["_breathing"] >= 5 * 200  # checked, built, compared, warned of
    assert frames["empty"] >= 3 * 200


def test_whoever_wants_it_no_longer_stops_it(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    path = tmp_path / "activator.yaml"
    path.write_text(several(*["1s"] * 20))
    left = iter(range(300))

    def breathe() -> None:
        if next(left, None) is None:
            raise Enough

    with pytest.raises(Enough):
        load(path, environ={"A": "1"}, breathe=breathe)
