"""One HTTP exchange with a server: JSON out, JSON in, or an error that says what kind it is. Knows no retries."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlinfer.config.remote_source import RemoteSource
from sqlinfer.errors import EXCERPT, describe, with_causes
from sqlinfer.redact import redact
from sqlinfer.remote.keys import how_to_give_a_key
from sqlinfer.remote.window import retry_after_s

if TYPE_CHECKING:
    import httpx2

ErrorKind = Literal["busy", "broken", "unreachable", "unresolved", "refused", "unusable"]
_MOST_BYTES = 64 << 20
_BUSY = (429, 503, 529)
_BROKEN = (408, 409, 425, 500, 502, 504)
_TOO_LONG = re.compile(
    r"context.(?:length|window|size)|too (?:long|large)|(?:reduce|exceeds?) the (?:length|maximum)|"
    r"maximum (?:input|sequence|prompt|number of tokens)",
    re.IGNORECASE,
)
_OUT_OF_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")


class ServerError(Exception):
    """A server gave no answer.

    kind: "busy" and "broken" may pass, the former with fewer requests; "unreachable" and "unresolved" (a name without
        an address) may pass if the server was ever reached; "refused" is about this request; "unusable" is about all
        requests: key, model, address.
    retry_after_s: that the server names.
    parameter: that it does not take; "" if it names none.
    """

    def __init__(
        self, message: str, kind: ErrorKind, status: int = 0, after_s: float | None = None, parameter: str = ""
    ) -> None:
        super().__init__(redact(message))
        self.kind = kind
        self.status = status
        self.retry_after_s = after_s
        self.parameter = parameter

    @property
    def is_about_length(self) -> bool:
        """Whether the prompt was too long, by the words of the message: servers have no common code for it."""
        return self.status == 413 or (self.status in (400, 422) and _TOO_LONG.search(str(self)) is not None)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered."""

    content: dict[str, Any]
    headers: Mapping[str, str]


class Exchange:
    """The connections to one server. source: any model of it."""

    def __init__(self, source: RemoteSource) -> None:
        self._source = source
        self._client: httpx2.AsyncClient | None = None

    async def post(self, path: str, body: Mapping[str, Any], key: str, timeout_s: float) -> Reply:
        """Send JSON to a path below the base URL. Raises ServerError."""
        return await self._exchange("POST", path, key, timeout_s, body)

    async def get(self, path: str, key: str, timeout_s: float) -> Reply:
        """Ask for the JSON of a path. Raises ServerError."""
        return await self._exchange("GET", path, key, timeout_s, None)

    async def _exchange(
        self, method: str, path: str, key: str, timeout_s: float, body: Mapping[str, Any] | None
    ) -> Reply:
        import httpx2

        if self._client is None:  # it belongs to the loop's thread; a redirect could carry the key to another host
            bounds = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
            self._client = httpx2.AsyncClient(timeout=None, limits=bounds, follow_redirects=False)
        headers = {"accept": "application/json"}
        if key:
            name = self._source.preset.header
            headers |= {name: key} if name else {"authorization": f"Bearer {key}"}
        try:
            async with asyncio.timeout(timeout_s):
                url = f"{self._source.url}/{path}"
                async with self._client.stream(method, url, json=body, headers=headers) as response:
                    content = await _read(response)
        except TimeoutError:
            raise ServerError(f"no answer from {self._source.host} within {timeout_s:g} s", "busy") from None
        except (httpx2.ConnectError, httpx2.ProxyError, httpx2.UnsupportedProtocol) as error:
            raise self._unreachable(error) from error
        except httpx2.HTTPError as error:  # resets, half answers
            problem = describe(error)
            raise ServerError(f"the connection to {self._source.host} broke: {problem}", "broken") from error
        return self._read_reply(response.status_code, dict(response.headers), content)

    def _unreachable(self, error: Exception) -> ServerError:
        causes = with_causes(error)
        host = self._source.host
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            hint = "If you trust who signed it, name the file of that certificate in the variable SSL_CERT_FILE"
            return ServerError(f"the certificate of {host} is not accepted: {describe(error)}. {hint}", "unusable")
        if any(isinstance(cause, socket.gaierror) for cause in causes):
            return ServerError(f"the name {host} of {self._source.url} has no address: {describe(error)}", "unresolved")
        return ServerError(f"{self._source.url} cannot be reached: {describe(error)}", "unreachable")

    def _read_reply(self, status: int, headers: dict[str, str], content: bytes) -> Reply:
        host = self._source.host
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if 200 <= status < 300 and isinstance(answer, dict) and not _is_error(answer):
            return Reply(answer, headers)
        start = content[:EXCERPT].decode("utf-8", "replace").strip()
        if 200 <= status < 300 and not isinstance(answer, dict):
            sent = headers.get("content-type", "no content type").partition(";")[0]
            message = f"{host} answered {sent} that is no JSON object: {start!r}. Its base URL here is"
            raise ServerError(f"{message} {self._source.url}", "broken", status)
        raise self._failure(status, headers, answer if isinstance(answer, dict) else {}, start)

    def _failure(self, status: int, headers: Mapping[str, str], answer: dict[str, Any], start: str) -> ServerError:
        host, error = self._source.host, answer.get("error", answer)
        fields = error if isinstance(error, dict) else {"message": error}
        reason = str(fields.get("message") or fields.get("detail") or start)[: 2 * EXCERPT]
        code, parameter = str(fields.get("code") or fields.get("type") or ""), str(fields.get("param") or "")
        if 200 <= status < 300:  # some servers put an error into an answer that is none
            status = int(code) if code.isdigit() else 500
        message = f"{host} answered {status}: {reason}"
        if status in _BUSY and code not in _OUT_OF_MONEY:
            return ServerError(message, "busy", status, retry_after_s(headers, time.time()))
        if status in _BROKEN:
            return ServerError(message, "broken", status, retry_after_s(headers, time.time()))
        if 300 <= status < 400:
            target = headers.get("location", "another address").partition("?")[0]
            message = f"{self._source.url} redirects to {target}, and a key follows no redirect. Register that address"
            return ServerError(message, "unusable", status)
        if status == 401:
            return ServerError(f"{message}. {how_to_give_a_key(self._source)}", "unusable", status)
        kind: ErrorKind = "unusable" if status in (402, 404, 405) or code in _OUT_OF_MONEY else "refused"
        return ServerError(message, kind, status, parameter=parameter)


def _is_error(answer: dict[str, Any]) -> bool:
    return bool(answer.get("error")) and not answer.get("choices") and not answer.get("data")


async def _read(response: httpx2.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > _MOST_BYTES:
            raise ServerError(f"the answer is longer than {_MOST_BYTES >> 20} MB", "refused")
    return b"".join(parts)
