"""Questions to servers: one request, read to its end or given up, by one deadline.

httpx bounds each wait of a request but not their sum, so a server that drips bytes could hold a command for ever.
Here the body is read piece by piece against a deadline, and :func:`within` bounds even what can't be interrupted (the
look-up of a name, a library's own requests). What went wrong is told in words of our own: a library's message may
quote an address with a token in it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from hpcfrugal import __version__
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.secrets import Secret

if TYPE_CHECKING:
    import httpx

LONGEST_BODY = 16 * 1024 * 1024
"""Bytes; a year of 5-minute figures is a tenth of it."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# No proxy of the environment can know what is on this machine.
_DIRECT = ("all://localhost", "all://127.0.0.1", "all://[::1]")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Reply:
    """A body of JSON. ``ttl_s`` is how long it holds as the server says, None where it doesn't."""

    data: Any
    ttl_s: float | None


class RequestRefused(ForecastError):
    """The server said no. ``status`` is HTTP's; ``retry_after_s`` is how long it asks to be left alone."""

    def __init__(
        self, message: str, *, status: int, retry_after_s: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after_s = retry_after_s


class Client:
    """Asks until ``deadline`` (of ``time.monotonic``). ``transport`` stands in for the network."""

    def __init__(self, deadline: float, transport: httpx.BaseTransport | None = None) -> None:
        self.deadline = deadline
        self.transport = transport

    def remaining_s(self) -> float:
        """Seconds until the deadline. Raises ForecastError when it has passed."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise ForecastError("gave no whole answer in time")
        return left

    def get(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        basic: Secret | None = None,
        secret: Secret | None = None,
    ) -> Reply:
        """The JSON at ``url``. ``secret`` names the credentials that ``headers`` carry, for the message of a refusal.

        Raises ForecastError, without the server's name: who asked knows whom.
        """
        import httpx

        credentials = basic or secret
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ForecastError("has an address that is none") from None
        if credentials is not None and parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise ForecastError(f"credentials are not sent over {parts.scheme}", hint="use an https address")
        left = self.remaining_s()
        try:
            # A redirect is not followed: it could carry a token to somebody else.
            with (
                httpx.Client(
                    transport=self.transport,
                    timeout=httpx.Timeout(left, connect=min(left, 3.0)),
                    headers={"User-Agent": f"hpcfrugal/{__version__}", "Accept": "application/json"},
                    follow_redirects=False,
                    mounts=dict.fromkeys(_DIRECT),
                ) as client,
                client.stream(
                    "GET",
                    url,
                    params=dict(params) if params else None,
                    headers=dict(headers or {}),
                    auth=(basic.values[0], basic.values[1]) if basic else None,
                ) as response,
            ):
                if response.status_code != 200:
                    _refuse(response, credentials)
                body = self._read(response)
                ttl_s = holds_s(response.headers)
        except ForecastError:
            raise
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ImportError, ValueError) as error:
            raise ForecastError(_told(error)) from None
        return Reply(_parsed(body), ttl_s)

    def _read(self, response: httpx.Response) -> bytes:
        pieces, size = [], 0
        for piece in response.iter_bytes():
            pieces.append(piece)
            size += len(piece)
            if size > LONGEST_BODY:
                raise ForecastError(f"sent more than {LONGEST_BODY // 1024**2} MiB")
            self.remaining_s()
        return b"".join(pieces)


def within(seconds: float, work: Callable[[], _T]) -> _T:
    """What ``work`` returns or raises, if it does within ``seconds``; ForecastError else.

    The work goes on in a thread that doesn't keep the program from ending.
    """
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="hpcfrugal-carbon", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if errors:
        raise errors[0]
    if results:
        return results[0]
    raise ForecastError("gave no whole answer in time")


def holds_s(headers: Mapping[str, str]) -> float | None:
    """How long an answer holds after its ``Cache-Control: max-age`` and ``Age``, or its ``Expires`` and ``Date``.

    After RFC 9111, sections 4.2 and 5.3. None where the server doesn't say, or says not to keep it: then the provider's
    own period holds, so that a burst of jobs is still one request.
    """
    for part in headers.get("cache-control", "").lower().split(","):
        name, _, value = part.strip().partition("=")
        if name in ("no-store", "no-cache"):
            return None
        if name == "max-age" and value.strip('"').isascii() and value.strip('"').isdigit():
            age = headers.get("age", "0").strip()
            return max(0.0, float(value.strip('"')[:9]) - (float(age[:9]) if age.isascii() and age.isdigit() else 0.0))
    from email.utils import parsedate_to_datetime  # 7 ms, and most answers need none

    try:
        expires, date = headers.get("expires"), headers.get("date")
        if expires and date:
            return max(0.0, (parsedate_to_datetime(expires) - parsedate_to_datetime(date)).total_seconds())
    except (TypeError, ValueError):
        # "Expires: 0" and other dates that are none.
        return None
    return None


def _refuse(response: httpx.Response, credentials: Secret | None) -> NoReturn:
    status = response.status_code
    wait = response.headers.get("retry-after", "").strip()
    after = float(wait[:6]) if wait.isascii() and wait.isdigit() else None
    hint = None
    if status in (401, 403):
        said = f"refused {'the credentials from ' + credentials.origin if credentials else 'access'} (HTTP {status})"
        hint = "check that they are valid and that the subscription covers this" if credentials else None
    elif status == 429:
        said = f"is asked too often (HTTP 429{f', wants {after:.0f} s of peace' if after else ''})"
    elif 300 <= status < 400:
        said = f"sends elsewhere (HTTP {status})"
        hint = "set the new address as `url` of its settings"
    elif status >= 500:
        said = f"is out of order (HTTP {status})"
    else:
        said = f"did not understand the question (HTTP {status})" if status != 404 else "has nothing there (HTTP 404)"
    raise RequestRefused(said, status=status, retry_after_s=after, hint=hint)


def _told(error: BaseException) -> str:
    """What a failed request means, from the kind of the error and the system's words only."""
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return "gave no whole answer in time"
    if isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError):
        return "broke off in the middle of its answer"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return f"cannot be reached: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return f"cannot be reached ({type(error).__name__})"


def _parsed(body: bytes) -> Any:
    if body.lstrip()[:1] == b"<":
        raise ForecastError("answered with a web page instead of figures")
    if not body.strip():
        raise ForecastError("answered with nothing")
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        if isinstance(error, _NotANumber):
            raise ForecastError(f"gave {error} for an intensity") from None
        raise ForecastError("answered with what is no JSON, or not the whole of it") from None


class _NotANumber(ValueError):
    pass


def _no_number(name: str) -> NoReturn:
    raise _NotANumber(name)
