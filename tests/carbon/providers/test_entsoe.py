"""ENTSO-E: what is worked out from the mix of generation. A stand-in plays entsoe-py, with its tables and errors."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, ProviderSettings
from hpcfrugal.carbon.providers.entsoe import Entsoe
from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import Secret

NOW = datetime(2026, 11, 21, 8, 47, tzinfo=UTC)
HOUR = timedelta(hours=1)
START = NOW.replace(minute=0)
TOKEN = "s3cret-t0ken"
_NONE = object()


class NoMatchingDataError(Exception):
    pass


class Platform:
    """What entsoe-py's client gives: tables of MW by local time. An exception as a table is raised."""

    tables: dict[str, Any]
    made: list[dict[str, Any]]
    asked: list[tuple[str, Any, Any]]

    def __init__(self, **options: Any) -> None:
        self.made.append(options)
        logging.getLogger("entsoe").debug("with params %s", options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def query(zone: str, *, start: Any, end: Any, nett: bool = False) -> Any:
            self.asked.append((name, start, end))
            told = self.tables[name]
            if isinstance(told, Exception):
                raise told
            return told

        return query


@dataclass
class Response:
    status_code: int
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_redirect(self) -> bool:
        return self.status_code // 100 == 3


class Session:
    """A session of requests; ``sent`` are its requests."""

    def __init__(self) -> None:
        self.answer = Response(200)
        self.sent: list[tuple[str, str, dict[str, Any]]] = []

    def request(self, method: str, url: str, **options: Any) -> Response:
        self.sent.append((method, url, options))
        return self.answer


def as_object(values: dict[str, list[float]], *, start: datetime = START, step: str = "1h") -> pd.DataFrame:
    count = len(next(iter(values.values())))
    return pd.DataFrame(values, index=pd.date_range(start, periods=count, freq=step).tz_convert("Europe/Paris"))


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> type[Platform]:
    entsoe, errors, requests = ModuleType("entsoe"), ModuleType("entsoe.exceptions"), ModuleType("requests")
    fake = type("EntsoePandasClient", (Platform,), {"tables": {}, "made": [], "asked": []})
    entsoe.EntsoePandasClient = fake  # type: ignore[attr-defined]
    errors.NoMatchingDataError = NoMatchingDataError  # type: ignore[attr-defined]

    class RequestException(OSError):
        def __init__(self, text: str = "", response: Response | None = None) -> None:
            super().__init__(text)
            self.response = response

    for name in ("HTTPError", "Timeout", "ConnectionError"):
        setattr(requests, name, type(name, (RequestException,), {}))
    requests.RequestException = RequestException  # type: ignore[attr-defined]
    requests.Session = Session  # type: ignore[attr-defined]
    for name, module in (("entsoe", entsoe), ("entsoe.exceptions", errors), ("requests", requests)):
        monkeypatch.setitem(sys.modules, name, module)
    return fake


def ask(
    what: str, start: datetime = START - 3 * HOUR, end: datetime = START, url: str | None = None
) -> IntensityAnswer:
    provider = Entsoe(ProviderSettings(name="mine", kind="entsoe", url=url), Secret((TOKEN,), "ENTSOE_API_KEY"))
    question = IntensityRequest("FR", "average", start, end, NOW)
    method = provider.forecast if what == "forecast" else provider.actuals
    return method(question, Client(time.monotonic() + 5))


def refused(what: str = "actual", url: str | None = None) -> SourceError:
    with pytest.raises(SourceError) as caught:
        ask(what, url=url)
    assert TOKEN not in caught.value.message
    return caught.value


def test_actual_values(platform: type[Platform]) -> None:
    platform.tables["query_generation"] = as_object(
        {"Nuclear": [50.0, 100.0, 0.0], "Fossil Gas": [50.0, 0.0, 100.0], "Hydro Pumped Storage": [-20.0, 0.0, 25.0]},
        start=START - 3 * HOUR,
    )
    answer = ask("actual")
    # (50 * 12 + 50 * 490) / 100; storage that takes is no source, and one that gives has no factor.
    assert answer.series.values == (251.0, 12.0, 490.0)
    assert answer.series.start == START - 3 * HOUR
    assert answer.series.kind == "actual"
    assert answer.notes[1] == "7.7% of the generation is of types without a known emission factor and is left out"
    (made,) = platform.made
    assert made["api_key"] == TOKEN
    assert made["retry_count"] == 1
    assert 0 < made["timeout"] <= 5
    assert platform.asked == [("query_generation", pd.Timestamp(START - 27 * HOUR), pd.Timestamp(START + HOUR))]


def test_forecast(platform: type[Platform]) -> None:
    platform.tables |= {
        "query_generation": as_object({"Nuclear": [60.0] * 24, "Fossil Gas": [40.0] * 24, "Solar": [500.0] * 24}),
        "query_wind_and_solar_forecast": as_object(
            {"Solar": [0.0, 50.0, 120.0, 10.0], "Wind Onshore": [0.0, 50.0, 0.0, 0.0]}
        ),
        "query_generation_forecast": pd.Series(
            [100.0, 200.0, 100.0], index=pd.date_range(START, periods=3, freq="1h").tz_convert("Europe/Paris")
        ),
    }
    answer = ask("forecast")
    rest = (60 * 12 + 40 * 490) / 100
    assert answer.series.values == pytest.approx((rest, (50 * 48 + 50 * 11 + 100 * rest) / 200, 48.0))
    assert (answer.series.kind, answer.series.issued_at) == ("forecast", NOW)
    assert "the rest as on the last day" in answer.notes[0]


def test_a_forecast_of_the_load_stands_in(platform: type[Platform]) -> None:
    platform.tables |= {
        "query_generation": as_object({"Nuclear": [1.0] * 24}),
        "query_wind_and_solar_forecast": as_object({"Wind Onshore": [50.0, 50.0]}),
        "query_generation_forecast": NoMatchingDataError(),
        "query_load_forecast": as_object({"Forecasted Load": [100.0, 50.0]}),
    }
    assert ask("forecast").series.values == (11.5, 11.0)


def test_a_time_that_is_not_known_whole_is_a_gap(platform: type[Platform]) -> None:
    nan = float("nan")
    platform.tables["query_generation"] = as_object(
        {
            "Nuclear": [90.0, nan, 90.0, nan, 90.0],
            "Fossil Gas": [10.0, 10.0, 10.0, nan, 10.0],
            "Solar": [1, 1, nan, nan, 1],
        },
        start=START - 5 * HOUR,
    )
    values = ask("actual", START - 5 * HOUR).series.values
    assert [value is None for value in values] == [False, True, False, True, False]
    assert values[2] == pytest.approx((90 * 12 + 10 * 490) / 100)


def test_a_type_that_is_not_published_yet_is_missed_by_the_day_before(platform: type[Platform]) -> None:
    nan = float("nan")
    platform.tables["query_generation"] = as_object(
        {"Nuclear": [90.0] * 24 + [nan], "Fossil Gas": [10.0] * 25}, start=START - 25 * HOUR
    )
    with pytest.raises(SourceError, match=r"^no intensities"):
        ask("actual", START - HOUR)


def test_too_much_of_unknown_kind(platform: type[Platform]) -> None:
    platform.tables["query_generation"] = as_object(
        {"Nuclear": [70.0] * 3, "Waste": [30.0] * 3}, start=START - 3 * HOUR
    )
    assert refused().message == "30% of the generation is of types without a known emission factor"


def test_errors_do_not_quote_the_address(platform: type[Platform]) -> None:
    requests = sys.modules["requests"]
    text = f"for url: https://web-api.tp.entsoe.eu/api?securityToken={TOKEN}"
    for error, said in (
        (requests.HTTPError(text, Response(401)), "refused the credentials from ENTSOE_API_KEY (HTTP 401)"),
        (requests.HTTPError(text, Response(503)), "server error (HTTP 503)"),
        (requests.HTTPError(text, Response(429, {"retry-after": "90"})), "rate limited (HTTP 429); retry in 90 s"),
        (requests.HTTPError(text), "request rejected"),
        (requests.Timeout(text), "did not answer in time"),
        (requests.ConnectionError(text), "cannot be reached (ConnectionError)"),
        (NoMatchingDataError(text), "no intensities (entsoe-py: NoMatchingDataError)"),
        (KeyError(text), "no intensities (entsoe-py: KeyError)"),
    ):
        platform.tables["query_generation"] = error
        told = refused()
        assert told.message == said
        assert told.__cause__ is None
        assert told.__suppress_context__


@pytest.mark.parametrize("url", [None, "https://mirror.example.org/api"])
def test_requests_go_to_the_url_of_the_settings(platform: type[Platform], url: str | None) -> None:
    platform.tables["query_generation"] = as_object({"Nuclear": [1.0] * 3}, start=START - 3 * HOUR)
    ask("actual", url=url)
    session = platform.made[0]["session"]
    session.request("GET", "https://web-api.tp.entsoe.eu/api", params={"a": "b"}, timeout=1)
    wanted = url or "https://web-api.tp.entsoe.eu/api"
    assert session.sent == [("GET", wanted, {"params": {"a": "b"}, "timeout": 1, "allow_redirects": False})]


def test_the_token_does_not_follow_a_redirect(platform: type[Platform]) -> None:
    platform.tables["query_generation"] = as_object({"Nuclear": [1.0] * 3}, start=START - 3 * HOUR)
    ask("actual")
    session = platform.made[0]["session"]
    session.answer = Response(302)
    with pytest.raises(sys.modules["requests"].HTTPError) as caught:
        session.request("GET", "https://web-api.tp.entsoe.eu/api")
    platform.tables["query_generation"] = caught.value
    assert refused().message == "redirects to another URL (HTTP 302)"


def test_the_token_is_not_sent_unencrypted(platform: type[Platform]) -> None:
    assert refused(url="http://mirror.example.org/api").message == "credentials are not sent over http"
    assert platform.made == []


def test_its_log_does_not_quote_the_token(platform: type[Platform], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    platform.tables["query_generation"] = as_object({"Nuclear": [1.0] * 3}, start=START - 3 * HOUR)
    ask("actual")
    assert TOKEN not in caplog.text
    logging.getLogger("urllib3.connectionpool").debug("a request of the program's own")
    assert "a request of the program's own" in caplog.text


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "entsoe", None)
    monkeypatch.setitem(sys.modules, "requests", None)
    told = refused()
    assert told.message == "needs entsoe-py"
    assert told.hint == "pip install 'hpcfrugal[entsoe]'"
