"""A session of requests whose connections another thread can cut."""

from __future__ import annotations

import contextlib
import socket
from typing import Any
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager


class Session(requests.Session):
    """A session that follows no redirects; `http.request` does."""

    def __init__(self) -> None:
        super().__init__()
        self._connections: WeakSet[HTTPConnection] = WeakSet()
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter(self._connections))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None, as the session itself would fail for a malformed target."""

    def cut(self) -> None:
        """Cut all connections, so that a thread that uses one ends."""
        for connection in list(self._connections):
            if connection.sock:
                with contextlib.suppress(OSError):  # it is closed
                    connection.sock.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    def __init__(self, connections: WeakSet[HTTPConnection]) -> None:
        self._connections = connections
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self._track(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(*args, **options)
        self._track(manager)
        return manager

    def _track(self, manager: PoolManager) -> None:
        pools = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {scheme: _track(pool, self._connections) for scheme, pool in pools.items()}


def _track(pool: type[HTTPConnectionPool], connections: WeakSet[HTTPConnection]) -> type[HTTPConnectionPool]:
    """Return a kind of pool that adds its connections to a set."""
    kind: Any = pool.ConnectionCls

    def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 (it is one)
        kind.__init__(self, *args, **options)
        connections.add(self)

    return type(pool.__name__, (pool,), {"ConnectionCls": type(kind.__name__, (kind,), {"__init__": __init__})})
