"""What a test against a cluster may ask for.

`cluster` is there for the whole session, `space` a namespace of the test's own. Where a cluster
can neither be found nor started, the whole run ends with a sentence that says why.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e import network
from tests.e2e.api import Access, Api
from tests.e2e.control_plane import ControlPlane
from tests.e2e.missing import Missing
from tests.e2e.space import Space

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

_FAILED = pytest.StashKey[bool]()


@dataclass(frozen=True, slots=True)
class Cluster:
    access: Access
    """An administrator's."""
    own: ControlPlane | None
    """None: somebody else's, named by KUBECONFIG."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if named := os.environ.get("KUBECONFIG"):
        yield Cluster(Access.from_kubeconfig(Path(named)), own=None)
        return
    with tempfile.TemporaryDirectory(prefix="activator-e2e-") as folder:
        try:
            plane = ControlPlane(Path(folder))
            network.enter()
        except Missing as lack:
            pytest.exit(
                "tests/e2e needs a Kubernetes cluster: name one in KUBECONFIG, or let it start its"
                f" own, which it cannot here, because {lack}.",
                returncode=pytest.ExitCode.USAGE_ERROR,
            )
        try:
            plane.start()
            yield Cluster(plane.admin, own=plane)
        finally:
            plane.stop()


@pytest.fixture
def control_plane(cluster: Cluster) -> ControlPlane:
    """For tests that order the kubelet, or kill the API server."""
    if cluster.own is None:
        pytest.skip("takes a control plane of one's own: unset KUBECONFIG")
    return cluster.own


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    async with Api(cluster.access) as api:
        yield api


@pytest.fixture
async def space(api: Api, cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[Space]:
    space = Space(api, f"e2e-{secrets.token_hex(4)}")
    await space.open()
    yield space
    if request.node.stash.get(_FAILED, False):
        await space.tell_what_happened()
        if cluster.own is not None:
            print(f"--- kubelet: {cluster.own.kubelet.last_words()}")
            print(f"--- components that have ended: {cluster.own.fallen()}")
    await space.close()


@pytest.fixture
async def neighbour(api: Api) -> AsyncIterator[Space]:
    """Another namespace, for what happens between two."""
    space = Space(api, f"e2e-{secrets.token_hex(4)}")
    await space.open()
    yield space
    await space.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report
