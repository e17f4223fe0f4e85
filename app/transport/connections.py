"""Connections through the guard, with one clock for a whole call, pooled for a few seconds.

Where a call fails decides what it means. Whatever goes wrong until the connection stands (name, address,
TCP, TLS) is `NotSent`; from the first written byte on it is `NoAnswer`, also on a pooled connection that
turns out to be dead. That border runs through `_CheckedConnection.connect`, so no list of exception
classes has to guess it.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from app.transport.addresses import Guard, connect_failure, time_left
from app.transport.answers import NotSent, TransportError

TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 5.0
# Shorter than the five seconds after which common servers (Apache, Node) drop an idle connection: a
# request on a connection that is being dropped has an unknown outcome, so that must stay rare.
IDLE_LIMIT_S = 4.0


class _ClockedReader(io.RawIOBase):
    """Reads a socket until a deadline: the time-out of a socket alone starts anew with every byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline
        self.is_at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = time_left(self._deadline)
        if not left:
            raise TimeoutError
        self._sock.settimeout(left)
        count = self._raw.readinto(buffer)
        self.is_at_end = count == 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _ClockedResponse(http.client.HTTPResponse):
    """An answer whose status line, headers and body must all come before the socket's time-out is over."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        timeout_s = sock.gettimeout()
        deadline = time.monotonic() + (TIMEOUT_S if timeout_s is None else timeout_s)
        self._reader = _ClockedReader(self.fp.detach(), sock, deadline)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        # The standard library takes a head that breaks off for a complete one.
        if self._reader.is_at_end:
            raise http.client.IncompleteRead(b"")


class _CheckedConnection(HTTPConnection):
    """A connection through the guard. Until `connect` returns, nothing of the request was written."""

    response_class = _ClockedResponse
    guard: Guard
    scheme = "http"
    idle_since = 0.0

    def _new_conn(self) -> socket.socket:
        timeout_s = self.timeout if isinstance(self.timeout, (int, float)) else CONNECT_TIMEOUT_S
        deadline = time.monotonic() + timeout_s
        sock = self.guard.open(self.scheme, self.host, self.port, deadline)
        sock.settimeout(max(time_left(deadline), 0.001))  # what is left for the TLS handshake
        return sock

    def connect(self) -> None:
        try:
            super().connect()
            self.sock.settimeout(self.timeout)  # for writing the request
        except TransportError:
            raise
        except Exception as error:
            reason = connect_failure(error)
        else:
            return
        self.close()
        raise NotSent(reason)


class _CheckedTlsConnection(_CheckedConnection, HTTPSConnection):
    """The same with TLS: server name, Host header and certificate check stay with the host's name."""

    scheme = "https"


class _Pool(HTTPConnectionPool):
    ConnectionCls = _CheckedConnection
    guard: Guard

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.guard = self.guard
        return connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        if connection.sock is not None and time.monotonic() - connection.idle_since > IDLE_LIMIT_S:
            connection.close()
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = time.monotonic()
        super()._put_conn(conn)


class _TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _CheckedTlsConnection


class Pools(urllib3.PoolManager):
    def __init__(self, guard: Guard, pools: int, **kwargs: Any) -> None:
        super().__init__(num_pools=pools, **kwargs)
        self.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self._guard = guard

    def _new_pool(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super()._new_pool(*args, **kwargs)
        pool.guard = self._guard
        return pool


class GuardedAdapter(HTTPAdapter):
    """requests over the pools above. It knows no proxies, and trusts the certificates of its pools."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        super().__init__()

    def init_poolmanager(self, *_: Any, **__: Any) -> None:
        self.poolmanager = self._pools

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *_: Any, **__: Any
    ) -> HTTPConnectionPool:
        return self._pools.connection_from_url(str(request.url))

    def cert_verify(self, *_: Any) -> None:
        """The pools' TLS context checks already."""
