"""etcd, API server, controllers and scheduler as processes, and the kubelet of the one node.

RBAC is on, and what service accounts ask of the API server is written to an audit log, which
`audit.py` reads. Each process dies with this one, whatever that dies of. `api_server` may be
killed and started again by a test.
"""

from __future__ import annotations

import ctypes
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e import credentials, network
from tests.e2e.missing import Missing, check_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.api import Access

GPUS = 4
"""Of the node."""

_BUILD = Path(__file__).parent / "controlplane" / "build"
API_PORT = 6443
_SERVER = f"https://127.0.0.1:{API_PORT}"
_STARTED_WITHIN = 90.0
_ENDED_WITHIN = 10.0
_PR_SET_PDEATHSIG = 1

_CONTROLLERS = (
    *("deployment-controller", "replicaset-controller", "statefulset-controller"),
    *("endpointslice-controller", "horizontal-pod-autoscaler-controller"),
    *("namespace-controller", "garbage-collector-controller", "resourcequota-controller"),
    *("serviceaccount-controller", "node-lifecycle-controller", "disruption-controller"),
)

_AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
- {level: Request, userGroups: ["system:serviceaccounts"]}
- {level: None}
"""


def binaries() -> Path:
    """Where the build is; raises Missing where it is not yet."""
    where = subprocess.run([_BUILD, "--where"], capture_output=True, text=True, check=True)
    folder = Path(where.stdout.strip())
    if not (folder / ".complete").exists():
        raise Missing("its control plane is not built yet: run tests/e2e/controlplane/build")
    return folder


class Component:
    """One process with its log; it may be ended and started any number of times."""

    def __init__(self, name: str, command: list[str], *, log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, no lock
            )

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tell(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=_ENDED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""


class ControlPlane:
    """All of it in one folder; this process has to be in its network already."""

    def __init__(self, folder: Path) -> None:
        check_programs()
        self._bin = binaries()
        self._folder = folder
        for each in ("keys", "log", "pods"):
            (folder / each).mkdir()
        addresses = ("127.0.0.1", network.HOST)
        self.credentials = credentials.make(folder / "keys", server=_SERVER, addresses=addresses)
        self.audit_log = folder / "log" / "audit"
        self.etcd = self._program("etcd", f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync")
        self.api_server = self._program("kube-apiserver", *self._api_server_options())
        self.controllers = self._program(
            "kube-controller-manager",
            *self._client_options("controllers", port=10257),
            f"--controllers={','.join(_CONTROLLERS)}",
            "--use-service-account-credentials",
            # deletions of namespaces and of pods are what tests wait for
            "--horizontal-pod-autoscaler-sync-period=2s",
            *("--concurrent-namespace-syncs=20", "--kube-api-qps=100", "--kube-api-burst=200"),
        )
        self.scheduler = self._program(
            "kube-scheduler", *self._client_options("scheduler", port=10259)
        )
        self.kubelet = self._component("kubelet", self._kubelet_command())

    @property
    def admin(self) -> Access:
        return self.credentials.admin

    def start(self) -> None:
        self.etcd.start()
        self.api_server.start()
        self.wait_for_api()
        for each in (self.controllers, self.scheduler, self.kubelet):
            each.start()

    def wait_for_api(self) -> None:
        self._wait(self.api_server, self._api_is_ready)

    def back_after_long(self) -> None:
        """The API server, and those who work for it: a real one's controllers and scheduler end
        when they cannot renew their lease for 10 s, and are started anew."""
        for each in (self.controllers, self.scheduler):
            each.kill()
        self.api_server.start()
        self.wait_for_api()
        for each in (self.controllers, self.scheduler):
            each.start()

    def stop(self) -> None:
        for each in self._all():
            each.stop()

    def fallen(self) -> list[str]:
        """Components that should run and do not."""
        return [each.name for each in self._all() if not each.runs]

    def _all(self) -> Iterator[Component]:
        yield from (self.kubelet, self.scheduler, self.controllers, self.api_server, self.etcd)

    # --- command lines

    def _program(self, name: str, *options: str) -> Component:
        return self._component(name, [str(self._bin / name), *options])

    def _component(self, name: str, command: list[str]) -> Component:
        return Component(name, command, log=self._folder / "log" / name)

    def _api_server_options(self) -> tuple[str, ...]:
        keys = self.credentials
        policy = self._folder / "audit.yaml"
        policy.write_text(_AUDIT, encoding="utf-8")
        return (
            "--etcd-servers=http://127.0.0.1:2379",
            *(f"--secure-port={API_PORT}", f"--advertise-address={network.HOST}"),
            "--service-cluster-ip-range=10.96.0.0/16",
            *(f"--tls-cert-file={keys.certificate}", f"--tls-private-key-file={keys.key}"),
            *(f"--client-ca-file={keys.ca}", f"--token-auth-file={keys.tokens}"),
            *("--anonymous-auth=false", "--authorization-mode=Node,RBAC"),
            "--enable-admission-plugins=NodeRestriction",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys.accounts_key}",
            f"--service-account-signing-key-file={keys.accounts_key}",
            f"--kubelet-client-certificate={keys.certificate}",
            f"--kubelet-client-key={keys.key}",
            f"--kubelet-certificate-authority={keys.ca}",
            "--kubelet-preferred-address-types=InternalIP",
            *(f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"),
            "--audit-log-mode=blocking",
            "--profiling=false",
        )

    def _client_options(self, user: str, *, port: int) -> tuple[str, ...]:
        config = self.credentials.kubeconfig(user)
        return (
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            *("--bind-address=127.0.0.1", f"--secure-port={port}"),
            f"--cert-dir={self._folder / user}",
            *("--leader-elect=false", "--profiling=false"),
        )

    def _kubelet_command(self) -> list[str]:
        keys = self.credentials
        return [
            *(sys.executable, "-m", "tests.e2e.kubelet"),
            *("--kubeconfig", str(keys.kubeconfig(credentials.NODE)), "--node", credentials.NODE),
            *("--gpus", str(GPUS), "--folder", str(self._folder / "pods")),
            *("--ca", str(keys.ca), "--certificate", str(keys.certificate)),
            *("--key", str(keys.key)),
        ]

    # --- waiting

    def _api_is_ready(self) -> bool:
        access = self.admin
        request = urllib.request.Request(
            f"{_SERVER}/readyz", headers={"Authorization": f"Bearer {access.token}"}
        )
        context = ssl.create_default_context(cadata=access.ca)
        try:
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _wait(self, component: Component, check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _STARTED_WITHIN
        while not check():
            if not component.runs or time.monotonic() > deadline:
                raise RuntimeError(f"{component.name} does not start: {component.last_words()}")
            time.sleep(0.05)


def _die_with_parent() -> None:
    os.setsid()  # what a terminal's Ctrl-C says is for pytest alone
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
