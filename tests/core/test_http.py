"""One request: what is taken, what is refused, and that it ends."""

from __future__ import annotations

import errno
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from email.utils import formatdate
from types import SimpleNamespace

import httpx
import pytest
from fake_grid import Grid, Reply

from hpcfrugal.core import http
from hpcfrugal.core.errors import SourceError, Unreachable
from hpcfrugal.core.http import Client, retry_after_s, ttl_s, within
from hpcfrugal.core.secrets import Secret

TOKEN = "s3cret-t0ken"
LONG_S = 30.0
"""A wait that a deadline ends, or that is not to end; nothing takes half of it otherwise."""


def client(seconds: float = 2 * LONG_S, transport: httpx.BaseTransport | None = None) -> Client:
    return Client(time.monotonic() + seconds, transport)


class Pieces(httpx.BaseTransport):
    """Answers with these pieces, and keeps the time limits of the last request."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.limits: dict[str, float] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.limits = request.extensions["timeout"]
        return httpx.Response(200, content=iter(self.pieces))


def refusal(grid: Grid, reply: Reply, **more: object) -> SourceError:
    grid.answer = lambda request: reply
    with pytest.raises(SourceError) as caught:
        client().get(grid.url, **more)  # type: ignore[arg-type]
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.usefixtures("no_proxy")
class TestAnswers:
    def test_json_and_its_lifetime(self, grid: Grid) -> None:
        grid.answer = lambda request: Reply({"a": 1}, headers={"Cache-Control": "public, max-age=900", "Age": "100"})
        reply = client().get(f"{grid.url}/x", params={"zone": "a'; rm -rf ~ #"}, headers={"auth-token": TOKEN})
        assert reply.data == {"a": 1}
        assert reply.ttl_s == 800
        (request,) = grid.requests
        assert (request.path, request.query) == ("/x", {"zone": "a'; rm -rf ~ #"})
        assert request.headers["auth-token"] == TOKEN
        assert request.headers["user-agent"].startswith("hpcfrugal/")

    def test_this_machine_is_asked_without_a_proxy(self, grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody there
        grid.answer = lambda request: Reply({"a": 1})
        assert client().get(grid.url).data == {"a": 1}
        assert client().get(grid.url.replace("127.0.0.1", "localhost")).data == {"a": 1}
        with pytest.raises(SourceError, match=f"cannot be reached: {os.strerror(errno.ECONNREFUSED)}"):
            client().get("http://example.invalid")

    def test_basic_credentials(self, grid: Grid) -> None:
        grid.answer = lambda request: Reply({})
        client().get(grid.url, basic=Secret(("alice", "pass:word"), "here"))
        assert grid.requests[0].headers["authorization"] == "Basic YWxpY2U6cGFzczp3b3Jk"

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"<!DOCTYPE html><html>Welcome to Hotel Wifi</html>", "sent an HTML page instead of JSON"),
            (b"", "sent an empty answer"),
            (b'{"data": [1, 2', "sent invalid or incomplete JSON"),
            (b'{"data": NaN}', "sent invalid JSON: NaN is not JSON"),
            (b'{"data": -Infinity}', "sent invalid JSON: -Infinity is not JSON"),
            (b"[" * 100_000, "sent invalid JSON: nested too deeply"),
            (b"\xff\xfe\xfd", "sent invalid or incomplete JSON"),
        ],
    )
    def test_invalid_answers(self, grid: Grid, body: bytes, said: str) -> None:
        assert refusal(grid, Reply(body)).message == said

    def test_an_answer_that_is_cut_off(self, grid: Grid) -> None:
        assert (
            refusal(grid, Reply({"data": []}, cut=100)).message == "closed the connection in the middle of its answer"
        )

    def test_an_answer_without_end(self, grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "MAX_BODY_BYTES", 2 * 1024 * 1024)
        assert refusal(grid, Reply(b" " * 3 * 1024 * 1024)).message == "sent more than 2 MiB"

    def test_an_answer_has_64_mib_at_most(self) -> None:
        pieces = [b"1" + b" " * 1_048_575, *[b" " * 1_048_576] * 63]
        assert client(transport=Pieces(pieces)).get("https://example.org").data == 1
        with pytest.raises(SourceError, match=r"^sent more than 64 MiB$"):
            client(transport=Pieces([*pieces, b" "])).get("https://example.org")


@pytest.mark.usefixtures("no_proxy")
class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "said"),
        [
            (401, "refused access (HTTP 401)"),
            (404, "not found (HTTP 404)"),
            (400, "request rejected (HTTP 400)"),
            (429, "rate limited (HTTP 429)"),
            (503, "server error (HTTP 503)"),
        ],
    )
    def test_by_status(self, grid: Grid, status: int, said: str) -> None:
        error = refusal(grid, Reply({"message": TOKEN}, status))
        assert error.message == said
        assert isinstance(error, Unreachable) == (status == 401)

    def test_wrong_credentials_name_where_they_came_from(self, grid: Grid) -> None:
        error = refusal(grid, Reply({}, 403), headers={"auth-token": TOKEN}, secret=Secret((TOKEN,), "MY_TOKEN"))
        assert error.message == "refused the credentials from MY_TOKEN (HTTP 403)"
        assert error.hint is not None

    def test_when_to_retry(self, grid: Grid) -> None:
        error = refusal(grid, Reply({}, 429, headers={"Retry-After": "120"}))
        assert error.message == "rate limited (HTTP 429); retry in 120 s"
        assert (error.retry_after_s, error.status) == (120, 429)

    @pytest.mark.parametrize(
        ("wait", "seconds"),
        [
            ("Sat, 21 Nov 2026 08:49:37 GMT", 90),
            ("Saturday, 21-Nov-26 08:49:37 GMT", 90),
            ("Sat, 21 Nov 2026 08:49:37 -0000", 90),
            ("Sat, 21 Nov 2026 08:40:00 GMT", 0),
            ("0", 0),
            ("soon", None),
            ("-5", None),
            ("Sat, 99 Nov 2026 08:49:37 GMT", None),
        ],
    )
    def test_when_to_retry_as_a_date(self, wait: str, seconds: float | None) -> None:
        assert retry_after_s({"retry-after": wait, "date": "Sat, 21 Nov 2026 08:48:07 GMT"}) == seconds

    def test_a_date_without_that_of_the_server_is_compared_with_the_clock(self) -> None:
        assert retry_after_s({"retry-after": formatdate(time.time() + 100, usegmt=True)}) == pytest.approx(
            100, abs=LONG_S
        )
        assert retry_after_s({}) is None

    def test_a_server_under_maintenance_says_when_to_retry(self, grid: Grid) -> None:
        at = formatdate(time.time() + 3600, usegmt=True)
        error = refusal(grid, Reply({}, 503, headers={"Retry-After": at}))
        assert re.fullmatch(r"server error \(HTTP 503\); retry in 3[56]\d\d s", error.message)
        assert error.retry_after_s == pytest.approx(3600, abs=LONG_S)

    def test_a_token_does_not_follow_a_redirect(self, grid: Grid) -> None:
        other = Grid(lambda request: Reply({"stolen": True}))
        try:
            error = refusal(grid, Reply({}, 302, {"Location": other.url}), headers={"auth-token": TOKEN})
            assert error.message == "redirects to another URL (HTTP 302)"
            assert other.requests == []
        finally:
            other.stop()

    def test_credentials_go_over_tls_or_nowhere(self) -> None:
        def reached(request: httpx.Request) -> httpx.Response:
            raise AssertionError("was asked")

        with pytest.raises(SourceError, match="credentials are not sent over http"):
            client(transport=httpx.MockTransport(reached)).get(
                "http://api.example.org", headers={"auth-token": TOKEN}, secret=Secret((TOKEN,), "here")
            )

    def test_no_server(self) -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            with pytest.raises(SourceError, match=f"cannot be reached: {os.strerror(errno.ECONNREFUSED)}"):
                client().get(f"http://127.0.0.1:{held.getsockname()[1]}")

    @pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/x", "http://[bad"])
    def test_an_invalid_url(self, url: str) -> None:
        with pytest.raises((SourceError, ValueError)) as caught:
            client().get(url)
        assert isinstance(caught.value, SourceError)


@pytest.mark.usefixtures("no_proxy")
class TestDeadline:
    def test_a_connection_has_3_s_at_most(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "time", SimpleNamespace(monotonic=lambda: 100.0))
        for left_s, connect_s in ((60.0, 3.0), (2.0, 2.0)):
            answer = Pieces([b"1"])
            Client(100.0 + left_s, answer).get("https://example.org")
            assert (answer.limits["connect"], answer.limits["read"]) == (connect_s, left_s)

    @pytest.mark.parametrize(
        "reply", [Reply({}, delay_s=LONG_S), Reply(b"[" + b" " * 3000 + b"]", drip_s=LONG_S / 3000)]
    )
    def test_a_slow_server(self, grid: Grid, reply: Reply) -> None:
        grid.answer = lambda request: reply
        begun = time.monotonic()
        with pytest.raises(SourceError, match=r"did not answer (within 0.4 s|in time)"):
            client(0.4).get(grid.url)
        assert time.monotonic() - begun < LONG_S / 2

    @pytest.mark.slow
    def test_headers_that_drip(self) -> None:
        # No byte takes long, and httpx bounds each byte only: the thread's deadline has to end it.
        over = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"

            def drip() -> None:
                peer, _ = server.accept()
                with peer:
                    peer.sendall(b"HTTP/1.1 200 OK\r\n")
                    for number in range(int(LONG_S / 0.05)):
                        try:
                            peer.sendall(b"X-%d: y\r\n" % number)
                        except OSError:
                            return
                        if over.wait(0.05):
                            return

            thread = threading.Thread(target=drip)
            thread.start()
            begun = time.monotonic()
            with pytest.raises(SourceError, match="did not answer within"):
                within(0.4, lambda: client(0.4).get(url))
            assert time.monotonic() - begun < LONG_S / 2
            over.set()
            thread.join()

    def test_work_that_does_not_end(self) -> None:
        over = threading.Event()
        begun = time.monotonic()
        with pytest.raises(SourceError, match="did not answer within"):
            within(0.1, lambda: over.wait(LONG_S))
        assert time.monotonic() - begun < LONG_S / 2
        over.set()

    def test_what_work_raises_and_returns(self) -> None:
        assert within(LONG_S, lambda: 3) == 3
        with pytest.raises(ZeroDivisionError):
            within(LONG_S, lambda: 1 // 0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"cache-control": "max-age=60"}, 60),
        ({"cache-control": 'private, max-age="60"', "age": "90"}, 0),
        ({"cache-control": "no-store, max-age=60"}, None),
        ({"cache-control": "max-age=-5"}, None),
        ({"cache-control": "max-age=99999999999999"}, 999_999_999),
        ({"expires": "Sat, 21 Nov 2026 09:00:00 GMT", "date": "Sat, 21 Nov 2026 08:30:00 GMT"}, 1800),
        ({"expires": "0", "date": "Sat, 21 Nov 2026 08:30:00 GMT"}, None),
        ({"expires": "Sat, 21 Nov 2026 08:00:00 GMT", "date": "Sat, 21 Nov 2026 08:30:00 GMT"}, 0),
    ],
)
def test_lifetime_of_an_answer(headers: Mapping[str, str], seconds: float | None) -> None:
    assert ttl_s(headers) == seconds
