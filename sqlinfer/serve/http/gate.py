"""Who may call, and how large a body may be. Knows no models."""

from __future__ import annotations

import hmac
import ipaddress
import json
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from sqlinfer.serve.http.errors import ApiError


def is_loopback(host: str) -> bool:
    """Whether a host is this machine under an address that others cannot reach.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Gate:
    """Lets calls in. token: that they must have; with "" they must name a loopback address as their host, so that no
    page in a browser calls under a name of its own. max_body_bytes: of a body."""

    def __init__(self, token: str, max_body_bytes: int) -> None:
        self._token = token
        self._max_body_bytes = max_body_bytes

    def check_caller(self, request: Request) -> None:
        """Raise ApiError for a caller who may not."""
        if self._token:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token.encode()):
                raise ApiError(401, "the server refuses this token: give the right one as the API key", code="token")
            return
        host = request.headers.get("host", "")
        if not is_loopback(urlsplit(f"//{host}").hostname or ""):
            problem = f"the server answers at a loopback address, not at {host!r}"
            raise ApiError(403, f"{problem}; one that has a token in SQLINFER_TOKEN answers under any name")

    async def read_body(self, request: Request) -> dict[str, Any]:
        """The JSON object of a call's body. Raises ApiError."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json":  # a browser asks before it sends this one elsewhere
            raise ApiError(415, f"the Content-Type is {content_type!r}; it must be application/json")
        chunks: list[bytes] = []
        num_bytes = int(length) if (length := request.headers.get("content-length", "")).isdecimal() else 0
        self._check_size(num_bytes)
        num_bytes = 0
        async for chunk in request.stream():
            num_bytes += len(chunk)
            self._check_size(num_bytes)
            chunks.append(chunk)
        try:
            body = json.loads(b"".join(chunks))
        except (ValueError, RecursionError) as error:
            raise ApiError(400, f"the body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise ApiError(400, f"the body must be a JSON object, not {type(body).__name__}")
        return body

    def _check_size(self, num_bytes: int) -> None:
        if num_bytes > self._max_body_bytes:
            raise ApiError(413, f"the body has more than {self._max_body_bytes:,} bytes, the most that are read")
