"""Power meters behind HTTP on loopback: a Prometheus, a Kwollect, a board's Redfish, each over a known power."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SECOND = 10**9

Answer = tuple[int, str, bytes]
"""Status, content type and body."""


def square_w(at_s: float) -> float:
    """100 W and 300 W in turns of one second."""
    return 100.0 if at_s % 2 < 1 else 300.0


def square_j(at_s: float) -> float:
    """Its exact integral from the epoch."""
    turns, rest = divmod(at_s, 2)
    return turns * 400 + min(rest, 1) * 100 + max(rest - 1, 0) * 300


def as_json(value: Any, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(value).encode()


class MeterServer:
    """A server whose answer to a path is what ``routes`` says; every request is kept in ``asked``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.routes: dict[str, Callable[[dict[str, str]], Answer]] = {}
        self.piece, self.pause_s = 1 << 30, 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                self._reply(parts.path, parts.query)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._reply(urlsplit(self.path).path, body)

            def _reply(self, path: str, query: str) -> None:
                params = {key: values[0] for key, values in parse_qs(query).items()}
                headers = {key.lower(): value for key, value in self.headers.items()}
                outer.asked.append((path, params, {**headers, "method": self.command}))
                route = outer.routes.get(path)
                status, kind, body = route(params) if route else as_json({"error": "no such place"}, 404)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if status == 302:
                    self.send_header("Location", outer.url + "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    for at in range(0, len(body), outer.piece):
                        self.wfile.write(body[at : at + outer.piece])
                        time.sleep(outer.pause_s)
                except OSError:
                    self.close_connection = True  # whoever asked has gone

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def always(self, *paths: str, answer: Answer, after_s: float = 0.0) -> None:
        """The same answer on these paths."""

        def give(_: dict[str, str]) -> Answer:
            time.sleep(after_s)
            return answer

        for path in paths:
            self.routes[path] = give


def instants(start_s: float, end_s: float, step_s: float, phase_s: float = 0.0) -> Iterator[float]:
    """Multiples of ``step_s`` (and ``phase_s`` more) from start to end."""
    number = -(-(start_s - phase_s) // step_s)
    while number * step_s + phase_s <= end_s:
        yield round(number * step_s + phase_s, 6)
        number += 1


def prometheus(
    server: MeterServer,
    value: Callable[[str, float], float | str | None],
    *,
    step_s: float,
    nodes: tuple[str, ...] = ("n1",),
    until_s: Callable[[], float] = time.time,
    label: str = "instance",
) -> None:
    """``/api/v1/query`` with a range selector and ``/api/v1/query_range``, for series that are scraped each ``step_s``.

    Left-open ranges as in Prometheus 3. The nodes of a query are those whose names its matcher fits.
    """

    def chosen(query: str) -> list[str]:
        exact = re.search(rf'{label}="([^"]*)"', query)
        several = re.search(rf'{label}=~"([^"]*)"', query)
        if exact:
            return [node for node in nodes if node == exact[1]]
        pattern = several[1].replace("\\x5c", "\\") if several else ""
        return [node for node in nodes if re.fullmatch(pattern, node)]

    def matrix(query: str, times: list[float], last_s: float) -> Answer:
        result = []
        for node in chosen(query):
            values = [[at, str(value(node, at))] for at in times if at <= last_s and value(node, at) is not None]
            if values:
                result.append({"metric": {"__name__": "power", label: node}, "values": values})
        return as_json({"status": "success", "data": {"resultType": "matrix", "result": result}})

    def query(params: dict[str, str]) -> Answer:
        match = re.fullmatch(r"(.*)\[(\d+)ms\]", params["query"])
        if match is None:
            return as_json({"status": "error", "errorType": "bad_data", "error": "parse error: no range"}, 400)
        end_s = float(params["time"])
        start_s = end_s - int(match[2]) / 1000
        times = [at for at in instants(start_s, end_s, step_s) if at > start_s]
        return matrix(match[1], times, until_s())

    def query_range(params: dict[str, str]) -> Answer:
        start_s, end_s, wide_s = float(params["start"]), float(params["end"]), float(params["step"])
        count = int((end_s - start_s) / wide_s) + 1
        if count > 11_000:
            return as_json({"status": "error", "errorType": "bad_data", "error": "exceeded maximum resolution"}, 400)
        return matrix(params["query"], [round(start_s + k * wide_s, 3) for k in range(count)], until_s())

    server.routes["/api/v1/query"] = query
    server.routes["/api/v1/query_range"] = query_range


def kwollect(server: MeterServer, value: Callable[[str, float], float | None], *, step_s: float) -> None:
    """``/metrics`` as Grid'5000 has it: times with an offset, and microseconds only where there are some."""
    paris = timezone(timedelta(hours=1))

    def metrics(params: dict[str, str]) -> Answer:
        rows = []
        for node in params["nodes"].split(","):
            for at in instants(int(params["start_time"]), int(params["end_time"]), step_s, 0.003778):
                power_w = value(node, at)
                if power_w is not None:
                    stamp = datetime.fromtimestamp(at, UTC).astimezone(paris).isoformat()
                    rows.append(
                        {
                            "timestamp": stamp,
                            "device_id": node,
                            "metric_id": params["metrics"],
                            "value": power_w,
                            "labels": {"_device_orig": ["wattmetre1-port33"]},
                        }
                    )
        # The rows come in no order that is promised.
        return as_json(rows[::-1])

    server.routes["/metrics"] = metrics
