"""Where the API server is and who we are to it: in a cluster, or by a kubeconfig.

Reading kubeconfigs (plugins, certificates, tokens in files) is kubernetes_asyncio's; when to read
them again is decided here: a token or certificate that the server no longer accepts may have been
replaced on disk.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import yaml
from kubernetes_asyncio import config as kube_config
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.client.rest import RESTClientObject
from kubernetes_asyncio.config.incluster_config import InClusterConfigLoader

from activator.kube.errors import Forbidden, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

AT_ONCE: Final = 1000
"""Connections at most: watches are shared, so this many are never needed."""
RENEW_EVERY: Final = 5.0
"""Seconds between two readings of the credentials while the server refuses them: a plugin that
makes tokens is not to be called for every request."""

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CONFIG = "~/.kube/config"
_UNUSABLE = (kube_config.ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError)
"""What reading a kubeconfig raises about its content."""


class Access:
    """The credentials in force, and the connections that are made with them."""

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        *,
        service_account: Path = SERVICE_ACCOUNT,
    ) -> None:
        self._environ = environ
        self._service_account = service_account
        self._configuration: Any = None
        self._rest: Any = None
        self._read_at = float("-inf")
        self._old: Any = None
        """What was in force before: calls that began with it may still be under way."""
        self.generation = 0
        """How often the credentials were read."""

    @property
    def is_open(self) -> bool:
        return self._rest is not None

    async def open(self, *, now: float) -> None:
        """Read the credentials. Raises Forbidden: there are none that can be used."""
        self._read_at = now
        configuration = type.__call__(Configuration)
        try:
            await self._load(configuration)
            configuration.connection_pool_maxsize = AT_ONCE
            rest = RESTClientObject(configuration)
        except (
            kube_config.ConfigException,
            yaml.YAMLError,
            OSError,
            ValueError,
            KeyError,
        ) as error:
            raise Forbidden(f"no access to a cluster: {error}") from error
        old, self._old = self._old, self._rest  # calls that are under way end with it
        if old is not None:
            await old.close()
        self._configuration, self._rest = configuration, rest
        self.generation += 1

    async def renew(self, *, now: float) -> bool:
        """The server refused the credentials: read them again, unless that was done just now."""
        if now - self._read_at < RENEW_EVERY:
            return False
        await self.open(now=now)
        return True

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        body: Any = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """The answer's head; the caller reads and releases it. Raises Unreachable, Forbidden."""
        try:
            headers = {
                "Accept": "application/json",
                "Content-Type": content_type,
                "User-Agent": "activator",
                **await self._credentials(),
            }
            answer = await self._rest.request(
                method,
                self._configuration.host + path,
                query_params=list(params.items()),
                headers=headers,
                body=body,
                _preload_content=False,
                _request_timeout=timeout,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{method} {path}: {_words(error)}") from error
        assert isinstance(answer, aiohttp.ClientResponse)
        return answer

    async def _credentials(self) -> dict[str, str]:
        try:
            settings = await self._configuration.auth_settings()
        except (kube_config.ConfigException, OSError) as error:
            raise Forbidden(f"no access to the cluster: {error}") from error
        return {each["key"]: each["value"] for each in settings.values() if each["value"]}

    async def _load(self, configuration: Any) -> None:
        """As kubectl does it: KUBECONFIG, else the pod's service account, else ~/.kube/config."""
        named = self._environ.get("KUBECONFIG")
        token = self._service_account / "token"
        if not named and "KUBERNETES_SERVICE_HOST" in self._environ and token.exists():
            InClusterConfigLoader(
                token_filename=str(token),
                cert_filename=str(self._service_account / "ca.crt"),
                environ=dict(self._environ),
            ).load_and_set(configuration)
            return
        if not _is_there(named or _CONFIG):
            raise OSError(
                f"{named or _CONFIG} is no file, and this is no pod with a service account"
            )
        await kube_config.load_kube_config(
            config_file=named or _CONFIG, client_configuration=configuration, persist_config=False
        )

    async def aclose(self) -> None:
        for rest in (self._old, self._rest):
            if rest is not None:
                await rest.close()
        self._old = self._rest = None


def own_namespace(*, service_account: Path = SERVICE_ACCOUNT) -> str | None:
    """Of the pod that this is; None: it is none."""
    try:
        return (service_account / "namespace").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _is_there(paths: str) -> bool:
    return any(os.path.isfile(os.path.expanduser(path)) for path in paths.split(os.pathsep) if path)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
