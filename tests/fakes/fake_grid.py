"""A server of carbon intensities on loopback, which answers as it is told: shapes, errors, delays and lies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Reply:
    """One answer: a body (anything but bytes becomes JSON), sent after ``delay_s``, ``drip_s`` between its bytes."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drip_s: float = 0.0
    cut: int = 0  # bytes that are announced but not sent


@dataclass
class Request:
    path: str
    query: dict[str, str]
    headers: dict[str, str]


Answer = Callable[[Request], Reply]


class Grid:
    """The server. ``answer`` may be set anew at any time; ``requests`` are those seen so far."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer: Answer = answer or (lambda request: Reply({}, 404))
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        grid = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                request = Request(parts.path, query, {name.lower(): value for name, value in self.headers.items()})
                grid.requests.append(request)
                reply = grid.answer(request)
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                grid.stopping.wait(reply.delay_s)
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body) + reply.cut))
                    self.end_headers()
                    if reply.drip_s:
                        for byte in body:
                            self.wfile.write(bytes([byte]))
                            if grid.stopping.wait(reply.drip_s):
                                return
                    else:
                        self.wfile.write(body)
                except OSError:
                    self.close_connection = True  # who asked has gone

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: what was asked is in ``requests``."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=lambda: self.server.serve_forever(0.02), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


def half_hours(start: datetime, values: list[Any], *, actual: Any = None) -> dict[str, Any]:
    """The national answer of carbonintensity.org.uk."""
    slot = timedelta(minutes=30)

    def clock(at: datetime) -> str:
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")

    return {
        "data": [
            {
                "from": clock(start + index * slot),
                "to": clock(start + (index + 1) * slot),
                "intensity": {"forecast": value, "actual": actual, "index": "low"},
            }
            for index, value in enumerate(values)
        ]
    }


def this_half_hour(now: datetime | None = None) -> datetime:
    """When the half hour that is running began."""
    now = now or datetime.now(UTC)
    return now.replace(minute=now.minute // 30 * 30, second=0, microsecond=0)
