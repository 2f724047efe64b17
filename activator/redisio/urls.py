"""From a store's address to connections: who we are, and how TLS is checked."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio.connection import Connection

from activator.errors import StartError
from activator.redisio.wire import Wire

if TYPE_CHECKING:
    from activator.aiokit.deadlines import Deadlines
    from activator.config.store_url import StoreTls, StoreUrl

Address = tuple[str, int]

try:
    from redis.driver_info import DriverInfo
except ImportError:  # one that looks its own version up once
    _DRIVER: dict[str, Any] = {}
else:
    _DRIVER = {"driver_info": DriverInfo()}
"""What every connection tells of redis-py, which else would look its own version up on the disk for
each anew. Its answer is why one that is connected has been heard from, and not only accepted."""


class _Connection(Connection):
    """redis-py's, with a TLS context of ours: its own makes one a connection, for 20 ms each."""

    tls: Tls | None = None

    def _connection_arguments(self) -> dict[str, Any]:
        place: dict[str, Any] = {"host": self.host, "port": self.port}
        return place | {"ssl": self.tls.context()} if self.tls is not None else place


class Tls:
    """The context for the files as they are now: certificates are renewed while we run."""

    def __init__(self, settings: StoreTls) -> None:
        """Raises StartError if a file is no certificate."""
        self._settings = settings
        self._made_of: tuple[float, ...] | None = None
        try:
            self._context = self.context()
        except (OSError, ssl.SSLError) as error:
            raise StartError(f"store.url: a certificate cannot be used: {error}") from error

    def context(self) -> ssl.SSLContext:
        settings = self._settings
        files = (settings.ca_certs, settings.certfile, settings.keyfile)
        made_of = tuple(file.stat().st_mtime for file in files if file is not None)
        if made_of != self._made_of:
            context = ssl.create_default_context(cafile=settings.ca_certs)
            context.check_hostname = settings.check_hostname
            if settings.certfile is not None:
                context.load_cert_chain(settings.certfile, settings.keyfile)
            self._context, self._made_of = context, made_of
        return self._context


class Dialer:
    """Connects to whatever address a topology names. Raises StartError if a certificate of the
    URL cannot be read."""

    def __init__(self, url: StoreUrl, deadlines: Deadlines) -> None:
        self._url = url
        self._deadlines = deadlines
        self._tls = Tls(url.tls) if url.tls is not None else None

    async def dial(self, address: Address, *, until: float) -> Wire:
        """Raises Unreachable."""
        url = self._url
        return await self._dial(address, until, url.username, url.password, url.db)

    async def dial_sentinel(self, address: Address, *, until: float) -> Wire:
        """Raises Unreachable."""
        url = self._url
        return await self._dial(address, until, url.sentinel_username, url.sentinel_password, 0)

    async def _dial(
        self, address: Address, until: float, username: str | None, password: str | None, db: int
    ) -> Wire:
        host, port = address
        # no timeout of redis-py's own: `wire` keeps time
        connection = cast("Any", _Connection)(
            host=host,
            port=port,
            db=db,
            username=username,
            password=password,
            protocol=2,
            **_DRIVER,
            socket_timeout=None,
            socket_connect_timeout=None,
        )
        connection.tls = self._tls
        return await Wire.connect(connection, self._deadlines, until=until)
