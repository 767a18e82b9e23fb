"""JSON over HTTP with credentials that come from a file or the environment and never appear in a message."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hpcfrugal.core.safe_read import parse_json
from hpcfrugal.meters.base import MeterError, Unreachable

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_MAX_SECRET_BYTES = 64 * 1024
_CONNECT_S = 3.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LONG_QUERY = 1500
"""Above this many characters a query goes into the body: servers and proxies bound the address, some at 2 kB."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is kept: the name of an environment variable, or a file of mode 0600."""

    variable: str | None = None
    file: Path | None = None

    def read(self) -> str:
        """The secret. Raises ``MeterError`` where it is not there, or lies open to others."""
        if self.variable is not None:
            value = os.environ.get(self.variable, "")
            where = f"the environment variable {self.variable}"
        else:
            assert self.file is not None
            value, where = _read_secret(self.file), str(self.file)
        value = value.strip()
        # What does not fit a header line would turn up in the complaint about it.
        if not value or not value.isascii() or not value.isprintable():
            raise MeterError(f"{where} holds no credentials" if not value else f"{where} holds more than one line")
        return value


def _read_secret(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise MeterError(f"{path} cannot be read: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
            raise MeterError(f"{path} can be read by others: chmod 600 {path}")
        return file.read(_MAX_SECRET_BYTES).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a server: its address, who asks, and what its certificate is held against."""

    url: str
    timeout_s: float = 10.0
    token: Secret | None = None
    user: str | None = None
    password: Secret | None = None
    ca_file: Path | None = None
    verify: bool = True

    @property
    def host(self) -> str:
        """The server, as a message names it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def is_here(self) -> bool:
        """Whether the server is on this machine."""
        return urlsplit(self.url.replace("{node}", "node")).hostname in _LOOPBACK


class JsonClient:
    """Asks one server. Redirects are not followed: credentials go where they were meant to go."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._client: httpx.Client | None = None

    def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        detail_key: str | None = None,
        may_post: bool = False,
    ) -> Any:
        """The JSON at ``path`` below the server's address. Where the server refuses, what it says under
        ``detail_key`` is quoted; ``may_post`` sends long parameters in the body. Raises ``MeterError``."""
        import httpx

        url = self._access.url + path
        params = dict(params or {})
        long = may_post and sum(map(len, params.values())) > _LONG_QUERY
        try:
            client = self._client = self._client or self._open()
            # A server that trickles keeps within the limit of each read, so the whole has one of its own.
            until = time.monotonic() + 3 * self._access.timeout_s
            with client.stream(
                "POST" if long else "GET", url, params=None if long else params, data=params if long else None
            ) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise MeterError(f"{self._access.host} answers with more than {MAX_ANSWER_BYTES} bytes")
                    if time.monotonic() > until:
                        raise Unreachable(f"{self._access.host} did not finish its answer in time")
        except httpx.TimeoutException:
            raise Unreachable(f"{self._access.host} did not answer within {self._access.timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise Unreachable(f"{self._access.host} cannot be reached: {reason}") from None
        return self._parsed(response, bytes(body), detail_key)

    def _parsed(self, response: httpx.Response, body: bytes, detail_key: str | None) -> Any:
        status = f"{response.status_code} {response.reason_phrase}".strip()
        if response.status_code in (401, 403):
            raise Unreachable(f"{self._access.host} refuses the credentials ({status})")
        try:
            value = parse_json(body)
        except ValueError:
            value = None
        if response.status_code != 200:
            said = value.get(detail_key) if detail_key and isinstance(value, dict) else None
            raise MeterError(f"{self._access.host} answers {status}" + (f": {str(said)[:200]}" if said else ""))
        if value is None:
            kind = response.headers.get("content-type", "no type")[:60]
            raise MeterError(f"{self._access.host} answers with something else than whole JSON ({kind})")
        return value

    def _open(self) -> httpx.Client:
        import ssl

        import httpx

        access = self._access
        headers = {"Accept": "application/json"}
        if access.token is not None:
            headers["Authorization"] = f"Bearer {access.token.read()}"
        auth = None
        if access.user is not None and access.password is not None:
            auth = httpx.BasicAuth(access.user, access.password.read())
        verify: ssl.SSLContext | bool = False
        if access.verify and access.url.startswith("https:"):
            try:
                # The system's own list of authorities, to which sites add theirs.
                verify = ssl.create_default_context(cafile=access.ca_file and str(access.ca_file))
            except (OSError, ssl.SSLError) as error:
                raise MeterError(f"{access.ca_file} is no list of certificates: {error}") from None
        # Whoever waits for a report should not wait long for a machine that is switched off.
        timeout = httpx.Timeout(access.timeout_s, connect=min(access.timeout_s, _CONNECT_S))
        # A proxy of the environment's is no way to this machine, and would be told the credentials.
        return httpx.Client(headers=headers, auth=auth, verify=verify, timeout=timeout, trust_env=not access.is_here)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
