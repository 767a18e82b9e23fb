"""JSON over HTTP: one request, read to its end or given up by one deadline.

httpx limits each wait of a request but not the total, so a server that sends single bytes could block a command for
ever. :func:`within` limits the whole request, including name resolution. Error messages are our own, since those of a
library may quote a URL with a token. They do not name the server; the caller does.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from hpcfrugal.core.errors import SourceError, Unreachable
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import parse_json
from hpcfrugal.core.secrets import Secret
from hpcfrugal.core.version import __version__

if TYPE_CHECKING:
    import ssl

    import httpx

MAX_BODY_BYTES = 64 * 1024 * 1024
"""A year of 5-minute intensities is 2 MB, a month of power samples each second 40 MB."""

_CONNECT_S = 3.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON body. ``ttl_s``: how long it stays valid according to the server, None if unknown."""

    data: Any
    ttl_s: float | None


class Client:
    """Sends requests until ``deadline`` (of ``time.monotonic``) over one connection for each server.

    Redirects are not followed: they could carry a token to another server. ``transport`` replaces the network.
    """

    def __init__(
        self,
        deadline: float,
        transport: httpx.BaseTransport | None = None,
        *,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self.deadline = deadline
        self._transport = transport
        self._verify = verify
        self._client: httpx.Client | None = None

    def remaining_s(self) -> float:
        """Seconds until the deadline. Raises Unreachable when it has passed."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Unreachable("did not answer in time")
        return left

    def get(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        basic: Secret | None = None,
        secret: Secret | None = None,
        secret_param: str | None = None,
        form: bool = False,
        error_key: str | None = None,
    ) -> Reply:
        """The JSON at ``url``.

        ``basic``: user and password for basic authentication. ``secret``: the credentials in ``headers``, to name their
        origin in an error; with ``secret_param`` they are sent as the parameter of this name, for servers that read
        them nowhere else, and the request is not logged. ``form`` sends the parameters in the body of a POST.
        ``error_key``: the key of the server's error text, which is quoted.

        Raises:
            Unreachable: no connection, no complete answer in time, or the credentials were refused.
            SourceError: any other answer than HTTP 200 with complete JSON.
        """
        import httpx

        credentials = basic or secret
        if credentials is not None:
            check_credentials_may_go_to(url)

        fields: dict[str, str | int] = dict(params or {})
        if secret is not None and secret_param is not None:
            fields[secret_param] = secret.values[0]
        left = self.remaining_s()

        def request() -> tuple[httpx.Response, bytes]:
            self._client = self._client or self._open()
            with self._client.stream(
                "POST" if form else "GET",
                url,
                params=None if form else fields,
                data=fields if form else None,
                headers=dict(headers or {}),
                auth=(basic.values[0], basic.values[1]) if basic else None,
                timeout=httpx.Timeout(left, connect=min(left, _CONNECT_S)),
            ) as response:
                return response, self._read(response)

        try:
            with _not_logged() if secret_param else nullcontext():
                response, body = within(left, request)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ImportError, ValueError) as error:
            raise _failed(error, left) from None
        if response.status_code != 200:
            raise refused_status(response.status_code, response.headers, credentials, _explained(body, error_key))
        return Reply(_parsed(body), ttl_s(response.headers))

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> httpx.Client:
        import httpx

        return httpx.Client(
            transport=self._transport,
            verify=self._verify,
            headers={"User-Agent": f"hpcfrugal/{__version__}", "Accept": "application/json"},
            follow_redirects=False,
            # A proxy from the environment cannot reach this machine, and should not see the credentials.
            mounts=dict.fromkeys(f"all://{f'[{host}]' if ':' in host else host}" for host in _LOOPBACK),
        )

    def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise SourceError(f"sent more than {MAX_BODY_BYTES // 1024**2} MiB")
            self.remaining_s()
        return bytes(body)


@contextmanager
def _not_logged() -> Iterator[None]:
    """httpx logs the URL of a request, here with a secret."""
    logger = logging.getLogger("httpx")

    def refuse(_: logging.LogRecord) -> bool:
        return False

    logger.addFilter(refuse)
    try:
        yield
    finally:
        logger.removeFilter(refuse)


def is_loopback(url: str) -> bool:
    """Whether the server is this machine. Raises ValueError for an invalid URL."""
    return urlsplit(url).hostname in _LOOPBACK


def check_credentials_may_go_to(url: str) -> None:
    """Raises SourceError unless what is sent to ``url`` is encrypted, or stays on this machine."""
    try:
        parts = urlsplit(url)
        safe = parts.scheme == "https" or is_loopback(url)
    except ValueError:
        raise SourceError("has an invalid URL") from None
    if not safe:
        raise SourceError(f"credentials are not sent over {parts.scheme}", hint="use an https URL")


def within(seconds: float, work: Callable[[], _T]) -> _T:
    """What ``work`` returns or raises if it ends within ``seconds``; raises Unreachable otherwise.

    The work runs in a daemon thread, which does not prevent the program from exiting.
    """
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="hpcfrugal-request", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if errors:
        raise errors[0]
    if results:
        return results[0]
    raise _too_late(seconds)


def _too_late(seconds: float) -> Unreachable:
    return Unreachable(f"did not answer within {round(seconds, 1):g} s")


def ttl_s(headers: Mapping[str, str]) -> float | None:
    """Seconds for which an answer stays valid: ``Cache-Control: max-age`` less ``Age``, or ``Expires`` less ``Date``.

    See RFC 9111, sections 4.2 and 5.3. None if the server gives no time or forbids caching. Then the refresh period of
    the provider applies, so that a burst of jobs is still one request.
    """
    for part in headers.get("cache-control", "").lower().split(","):
        name, _, value = part.strip().partition("=")
        if name in ("no-store", "no-cache"):
            return None
        if name == "max-age" and value.strip('"').isascii() and value.strip('"').isdigit():
            age = headers.get("age", "0").strip()
            return max(0.0, float(value.strip('"')[:9]) - (float(age[:9]) if age.isascii() and age.isdigit() else 0.0))
    expires_s, date_s = _date_s(headers.get("expires")), _date_s(headers.get("date"))
    return None if expires_s is None or date_s is None else max(0.0, expires_s - date_s)


def _date_s(text: str | None) -> float | None:
    """A date of HTTP in seconds since 1970-01-01T00:00Z; None if there is none, or if it is none ("Expires: 0")."""
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # takes 7 ms, and few answers need it

    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` demands, as a number or as a date (RFC 9110, section 10.2.3); None without it.

    A date is compared with the server's own ``Date``, or with this machine's clock if there is none.
    """
    wait = headers.get("retry-after", "").strip()
    if wait.isascii() and wait.isdigit():
        return float(wait[:6])
    at_s, now_s = _date_s(wait), _date_s(headers.get("date"))
    return None if at_s is None else max(0.0, at_s - (time.time() if now_s is None else now_s))


def refused_status(
    status: int, headers: Mapping[str, str], credentials: Secret | None = None, explained: str = ""
) -> SourceError:
    """The error for a status other than 200; ``explained`` is added to its message."""
    if status in (401, 403):
        what = f"the credentials from {credentials.origin}" if credentials else "access"
        hint = "check that they are valid and that the subscription covers this" if credentials else None
        return Unreachable(f"refused {what} (HTTP {status})", hint=hint, status=status)
    hint = None
    if status == 429:
        what, explained = "rate limited", ""
    elif 300 <= status < 400:
        what, hint = "redirects to another URL", "set `url` in its settings to the new one"
    elif status == 404:
        what = "not found"
    else:
        what = "server error" if status >= 500 else "request rejected"
    wait_s = retry_after_s(headers)
    retry = f"; retry in {wait_s:.0f} s" if wait_s else ""
    return SourceError(f"{what} (HTTP {status}){explained}{retry}", hint=hint, retry_after_s=wait_s, status=status)


def _explained(body: bytes, key: str | None) -> str:
    try:
        value = parse_json(body) if key else None
    except ValueError:
        value = None
    text = value.get(key) if isinstance(value, dict) else None
    return f": {str(text)[:200]}" if text else ""


def _failed(error: BaseException, seconds: float) -> SourceError:
    """The error for a failed request, made only from its type and the text of the system error."""
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return _too_late(seconds)
    if isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError):
        return Unreachable("closed the connection in the middle of its answer")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return SourceError("has an invalid URL")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return Unreachable(f"cannot be reached: {cause.strerror}")
        cause = cause.__cause__ or cause.__context__
    return Unreachable(f"cannot be reached ({type(error).__name__})")


def _parsed(body: bytes) -> Any:
    if body.lstrip()[:1] == b"<":
        raise SourceError("sent an HTML page instead of JSON")
    if not body.strip():
        raise SourceError("sent an empty answer")
    try:
        return parse_json(body)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise SourceError("sent invalid or incomplete JSON") from None
    except ValueError as error:
        raise SourceError(f"sent invalid JSON: {error}") from None
