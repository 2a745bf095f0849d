"""Serves the API on a socket, in a thread beside the server of the shell. Knows no endpoints."""

from __future__ import annotations

import signal
import socket
import threading
from dataclasses import dataclass

import uvicorn

from sqlinfer.errors import SqlinferError
from sqlinfer.inference.runtime import Runtime
from sqlinfer.serve.http.app import Api
from sqlinfer.serve.http.gate import Gate, is_loopback

GRACE_S = 5
"""How long a server that stops waits for calls that are still being read, or for clients that do not read."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a server takes."""

    max_body_bytes: int = 8 << 20
    """Of one call."""
    max_requests: int = 1024
    """Requests that wait or run at once."""


class HttpServer:
    """Listens at an address when it is made; port 0 takes a free one. token: may be "" at a loopback address only.
    address: with the port that was taken. has_token: whether callers need one."""

    def __init__(self, runtime: Runtime, address: tuple[str, int], token: str, limits: HttpLimits) -> None:
        host, port = address
        if not token and not is_loopback(host):
            raise SqlinferError(f"a server at {host}, which others may reach, needs a token")
        self.has_token = bool(token)
        self._api = Api(runtime, Gate(token, limits.max_body_bytes), limits.max_requests)
        try:
            self._socket = socket.create_server(
                address, family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
            )
        except OSError as error:
            raise SqlinferError(f"the server cannot listen at {host}, port {port}: {error.strerror}") from None
        self.address = f"{f'[{host}]' if ':' in host else host}:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            self._api.app(),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="sqlinfer-http")

    def start(self) -> None:
        """Answer calls from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End what runs, tell its callers, and close."""
        self._api.batches.close()
        self._server.handle_exit(signal.SIGTERM, None)
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
