"""What the admin port shows and does, over a real socket."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from activator.admin import dashboard
from activator.admin.api import make_app
from activator.admin.openapi import CALLS, describe
from activator.admin.ports import ConfigStatus
from activator.admin.problems import COMPARED, unknown_endpoint
from activator.telemetry.events import EventLog
from activator.telemetry.exposition import Format
from activator.telemetry.metrics import Gauges, Metrics
from tests.slicing import Turns, counted
from tests.unit.admin.support import House, running, status

if TYPE_CHECKING:
    from collections.abc import Iterator


async def test_is_alive_and_tells_why_it_is_not_ready() -> None:
    async with running() as admin:
        assert await admin.get("/livez") == (200, "alive\n")
        assert await admin.get("/readyz") == (200, "ready\n")
        admin.house.why_not_ready = "draining"
        code, problem = await admin.get("/readyz")
        assert (code, problem["detail"]) == (503, "draining")
        assert (await admin.get("/livez"))[0] == 200


async def test_probes_may_ask_with_head() -> None:
    async with running() as admin, admin.client.head(admin.url + "/readyz") as answer:
        assert answer.status == 200


async def test_exposes_the_metrics_in_the_format_asked_for() -> None:
    async with running() as admin:
        admin.metrics.connections = 3
        _, text = await admin.get("/metrics")
        assert "activator_connections 3.0" in text
        accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
        async with admin.client.get(admin.url + "/metrics", headers=accept) as answer:
            assert answer.content_type == "application/openmetrics-text"
            assert (await answer.text()).endswith("# EOF\n")


async def test_a_scrape_has_its_length_and_head_tells_the_same() -> None:
    async with running() as admin:
        admin.metrics.endpoint("ünï").retried("refused")
        for accept in ("", "application/openmetrics-text"):
            headers = {"Accept": accept}
            async with admin.client.get(admin.url + "/metrics", headers=headers) as answer:
                assert answer.headers["Content-Type"] == Format.wanted(accept).value
                assert answer.content_length == len(await answer.read())
            async with admin.client.head(admin.url + "/metrics", headers=headers) as answer:
                assert answer.headers["Content-Type"] == Format.wanted(accept).value
                assert answer.content_length


async def test_others_have_turns_during_a_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as admin:
        with counted(monkeypatch) as turns:

            def gauges() -> Gauges:
                turns.step()
                return Gauges()

            for number in range(1000):
                admin.metrics.endpoint(f"m-{number}").gauges = gauges
            _, text = await admin.get("/metrics")

    assert text.count("activator_held_requests{") == turns.steps == 1000
    assert turns.longest <= 2  # what a turn of the loop ends and begins with


async def test_a_number_that_cannot_be_read_is_no_half_exposition(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as admin:
        for number in range(1000):
            admin.metrics.endpoint(f"m-{number}").retried("refused")
        admin.metrics.leader = lambda: 1 // 0 == 0  # told of last
        code, problem = await admin.get("/metrics")
        assert (code, problem["status"]) == (500, 500)
        admin.metrics.leader = lambda: True
        assert (await admin.get("/metrics"))[0] == 200
    assert [each.getMessage() for each in caplog.records] == ["admin call failed"]


async def test_lists_the_endpoints_and_how_the_last_reload_went() -> None:
    async with running() as admin:
        admin.house.refused = ConfigStatus(at=5.0, problems=("a.yaml:3: endpoints[0].nam: …",))
        code, listed = await admin.get("/api/endpoints")
        assert code == 200
        assert [one["name"] for one in listed["endpoints"]] == ["llama", "whisper"]
        assert listed["configuration"]["problems"] == ["a.yaml:3: endpoints[0].nam: …"]


async def test_shows_one_endpoint_with_every_field_of_its_status() -> None:
    async with running() as admin:
        code, shown = await admin.get("/api/endpoints/llama")
        assert code == 200
        assert set(shown) == set(status("llama").__dataclass_fields__)
        assert shown["hosts"] == ["llama.example.com"]


async def test_numbers_that_json_cannot_say_do_not_break_the_answer() -> None:
    async with running() as admin:
        admin.house.statuses["llama"] = status("llama", eta=float("inf"))
        async with admin.client.get(admin.url + "/api/endpoints/llama") as answer:
            shown = json.loads(await answer.text(), parse_constant=pytest.fail)
        assert shown["eta"] == "inf"


async def test_an_unknown_endpoint_is_404_and_names_the_nearest() -> None:
    async with running() as admin:
        code, problem = await admin.get("/api/endpoints/lama")
        assert code == 404
        assert "did you mean 'llama'?" in problem["detail"]
        assert (await admin.post("/api/endpoints/lama/activate"))[0] == 404


async def test_the_nearest_is_found_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["llama-8b", *(f"other-{number}" for number in range(100)), "llama-70b"]
    async with running() as admin:
        admin.house.statuses = {name: status(name) for name in names}
        _, problem = await admin.get("/api/endpoints/llama-8")
        assert "did you mean 'llama-8b'?" in problem["detail"]
        _, problem = await admin.get("/api/endpoints/xyz/history")
        assert "GET /api/endpoints lists them" in problem["detail"]

    with counted(monkeypatch) as turns:

        class Told(House):
            def names(self) -> Any:
                return Counted(names, turns)

        await unknown_endpoint(Told(), "llama-8")
    assert turns.steps == len(names)
    assert turns.longest <= 2 * COMPARED


class Counted(list[str]):
    """Names that tell when they are looked at."""

    def __init__(self, names: list[str], turns: Turns) -> None:
        super().__init__(names)
        self._turns = turns

    def __getitem__(self, some: Any) -> Any:
        found = super().__getitem__(some)
        for _ in found:
            self._turns.step()
        return found


async def test_activates_pauses_resumes_and_answers_with_the_new_status() -> None:
    async with running() as admin:
        code, shown = await admin.post("/api/endpoints/llama/activate")
        assert (code, shown["state"], shown["replicas"][0]["phase"]) == (
            200,
            "activating",
            "started",
        )
        assert (await admin.post("/api/endpoints/llama/pause"))[1]["paused"] is True
        assert (await admin.post("/api/endpoints/llama/resume"))[1]["paused"] is False


async def test_deactivating_under_demand_is_409_unless_forced() -> None:
    async with running() as admin:
        admin.house.statuses["llama"] = status("llama", state="active", held=2)
        code, problem = await admin.post("/api/endpoints/llama/deactivate")
        assert (code, problem["detail"]) == (409, "2 requests are held; force breaks them off")
        code, shown = await admin.post("/api/endpoints/llama/deactivate", {"force": True})
        assert (code, shown["state"]) == (200, "inactive")


async def test_an_order_that_was_not_taken_is_503() -> None:
    async with running() as admin:
        admin.house.away = True
        code, problem = await admin.post("/api/endpoints/llama/activate")
        assert (code, problem["detail"]) == (503, "the driver did not take the order")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "not JSON"),
        ("[" * 20_000, "not JSON"),
        ("[]", "JSON object"),
        ('{"forse": true}', "'forse' means nothing here; force may be given"),
        ('{"force": "yes"}', "force is a bool, not 'yes'"),
        ('{"force": 1}', "force is a bool, not 1"),
    ],
)
async def test_a_body_that_means_nothing_is_400_and_says_what_would(body: str, says: str) -> None:
    async with running() as admin:
        headers = {"Content-Type": "application/json"}
        url = admin.url + "/api/endpoints/llama/deactivate"
        async with admin.client.post(url, data=body, headers=headers) as answer:
            assert answer.status == 400
            assert answer.content_type == "application/problem+json"
            assert says in (await answer.json(content_type=None))["detail"]
        assert admin.house.statuses["llama"].state == "inactive"


async def test_no_body_is_an_empty_one() -> None:
    async with running() as admin:
        headers = {"Content-Type": "application/json"}
        url = admin.url + "/api/endpoints/llama/pause"
        async with admin.client.post(url, headers=headers) as answer:
            assert answer.status == 200


async def test_a_body_beyond_any_sense_is_413() -> None:
    async with running() as admin:
        assert (await admin.post("/api/endpoints/llama/pause", {"x": "y" * 100_000}))[0] == 413


async def test_shows_the_configuration_in_force() -> None:
    async with running() as admin:
        code, shown = await admin.get("/api/config")
        assert code == 200
        assert shown["config"]["auth"] == {"adminTokenFile": "***"}
        assert shown["status"] == {"at": 1_790_000_000.0, "problems": []}


async def test_a_wrong_path_or_method_is_a_problem_too() -> None:
    async with running() as admin:
        code, problem = await admin.get("/api/nothing")
        assert (code, problem["status"], problem["title"]) == (404, 404, "Not Found")
        async with admin.client.get(admin.url + "/api/endpoints/llama/activate") as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "POST"
            assert answer.content_type == "application/problem+json"


async def test_a_failure_inside_shows_no_inside(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as admin:
        admin.house.broken = True
        with caplog.at_level(logging.ERROR, logger="activator.admin"):
            code, problem = await admin.get("/api/endpoints")
    assert code == 500
    assert "secret" not in json.dumps(problem)
    assert "a secret of the inside" in caplog.text


async def test_every_answer_forbids_caching_and_sniffing() -> None:
    async with running() as admin:
        for path in ("/livez", "/api/endpoints", "/api/nothing"):
            async with admin.client.get(admin.url + path) as answer:
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_description_has_every_route_and_no_other() -> None:
    app = make_app(House(), Metrics(), EventLog(), token=None, hosts=())
    routes = {(one.method, one.resource.canonical) for one in app.router.routes() if one.resource}
    calls = {one for one in routes if one[0] != "HEAD" and one[1] not in dashboard.PATHS}
    assert calls == set(CALLS)


async def test_the_description_is_served_and_its_references_resolve() -> None:
    async with running() as admin:
        code, document = await admin.get("/openapi.json")
    assert code == 200
    assert document == json.loads(json.dumps(describe()))
    names = {reference.rpartition("/")[2] for reference in _references(document)}
    assert names
    assert names <= set(document["components"]["schemas"])


def _references(value: Any) -> Iterator[str]:
    match value:
        case {"$ref": reference}:
            yield reference
        case dict():
            for one in value.values():
                yield from _references(one)
        case list():
            for one in value:
                yield from _references(one)
