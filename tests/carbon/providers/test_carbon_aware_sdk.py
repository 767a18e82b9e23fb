"""The Carbon Aware SDK's web API against a server that answers as its documentation says, and as it should not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_grid import Reply
from provider_asker import NOW, Asker

from hpcfrugal.carbon.listing import listing
from hpcfrugal.carbon.providers.carbon_aware_sdk import CarbonAwareSdk
from hpcfrugal.carbon.select import select
from hpcfrugal.core.carbon_signal import Signal
from hpcfrugal.core.errors import InputError, Unreachable
from hpcfrugal.settings.config import load_config

START = datetime(2026, 11, 21, 8, 45, tzinfo=UTC)
SLOT = timedelta(minutes=5)

pytestmark = pytest.mark.usefixtures("home")


def forecast(values: list[Any], *, duration: Any = 5, **changes: Any) -> Any:
    """An answer of ``/emissions/forecasts/current``. Values have the name of the source behind as their location."""
    points = [
        {
            "location": "IE", "timestamp": f"{START + index * SLOT:%Y-%m-%dT%H:%M:%S+00:00}", "duration": duration,
            "value": value,
        }
        for index, value in enumerate(values)
    ]  # fmt: skip
    whole = {
        "requestedAt": "2026-11-21T08:47:12+00:00", "generatedAt": "2026-11-21T08:35:00+00:00",
        "location": "northeurope", "dataStartAt": "2026-11-21T08:45:00+00:00", "windowSize": 5,
        "optimalDataPoints": points[-1:], "forecastData": points,
    }  # fmt: skip
    return [{**whole, **changes}]


def measured(values: list[Any], *, step: timedelta = SLOT, **more: Any) -> list[dict[str, Any]]:
    """An answer of ``/emissions/bylocation``."""
    return [
        {"location": "IE", "time": f"{START + index * step:%Y-%m-%dT%H:%M:%S+00:00}", "rating": value, **more}
        for index, value in enumerate(values)
    ]


@pytest.mark.parametrize("signal", ["average", "marginal"])
def test_the_forecast(asker: Asker, signal: Signal) -> None:
    asker.answers(forecast([532.02, 535, 448.4]))
    series = asker(CarbonAwareSdk, "forecast", "northeurope", signal=signal).series
    assert asker.last.path == "/emissions/forecasts/current"
    # With a window the server would give the means over it.
    assert asker.last.query == {"location": "northeurope"}
    assert (series.start, series.step, series.values) == (START, SLOT, (532.02, 535.0, 448.4))
    assert (series.kind, series.signal) == ("forecast", signal)
    assert series.issued_at == datetime(2026, 11, 21, 8, 35, tzinfo=UTC)


def test_a_forecast_without_a_time_of_issue(asker: Asker) -> None:
    asker.answers(forecast([1, 2], generatedAt=None))
    assert asker(CarbonAwareSdk, "forecast", "northeurope", signal="average").series.issued_at == NOW


@pytest.mark.parametrize("more", [{"duration": "00:05:00"}, {"duration": None}, {}, {"duration": "00:00:00"}])
def test_actuals_in_any_order(asker: Asker, more: dict[str, Any]) -> None:
    asker.answers(measured([70, 64.5, 60], **more)[::-1])
    answer = asker(CarbonAwareSdk, "actual", "northeurope", start=START, end=START + 3 * SLOT, signal="average")
    assert asker.last.path == "/emissions/bylocation"
    assert asker.last.query == {
        "location": "northeurope", "time": "2026-11-21T08:45:00Z", "toTime": "2026-11-21T09:00:00Z",
    }  # fmt: skip
    assert (answer.series.values, answer.series.step, answer.series.kind) == ((70.0, 64.5, 60.0), SLOT, "actual")


def test_hourly_actuals_with_a_gap(asker: Asker) -> None:
    rows = measured([1, 2, 3, 4], step=timedelta(hours=1), duration="01:00:00")
    asker.answers([*rows[:2], *rows[3:]])
    series = asker(CarbonAwareSdk, "actual", "northeurope", signal="marginal").series
    assert (series.values, series.step) == ((1.0, 2.0, None, 4.0), timedelta(hours=1))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "sent 0 forecasts instead of one"),
        (forecast([1]) * 2, "sent 2 forecasts instead of one"),
        (forecast([1], location="eastus"), "answered for zone 'eastus' instead of 'northeurope'"),
        (forecast([1], forecastData=None), "values in an unknown format"),
        (forecast([]), "no intensities"),
        (forecast([-1]), "impossible intensity of -1 g/kWh"),
        (forecast([1], duration="5"), "invalid duration '5'"),
        (forecast([1], duration=-5), "invalid duration -5"),
        (forecast([1], duration=True), "invalid duration True"),
        (forecast([1], forecastData=[*measured([1]), {"timestamp": "x"}]), "invalid time None"),
        ({}, "answer in an unknown format"),
    ],
)
def test_answers_that_are_refused(asker: Asker, body: Any, message: str) -> None:
    asker.answers(body)
    assert message in asker.refused(CarbonAwareSdk, "forecast", "northeurope", signal="average")


def test_values_of_several_durations_are_refused(asker: Asker) -> None:
    asker.answers([*measured([1], duration="00:05:00"), *measured([1], duration="01:00:00")])
    said = asker.refused(CarbonAwareSdk, "actual", "northeurope", signal="average")
    assert said == "values of several durations"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(b"", 204), "no intensities"),
        (Reply({"title": "NotImplementedException"}, 501), "the source behind it does not offer this (HTTP 501)"),
        (Reply({"title": "x", "detail": "Unknown location"}, 400), "request rejected (HTTP 400): Unknown location"),
        (Reply({}, 401), "refused access (HTTP 401)"),
    ],
)
def test_errors(asker: Asker, reply: Reply, message: str) -> None:
    asker.answers(lambda request: reply)
    assert asker.refused(CarbonAwareSdk, "forecast", "northeurope", signal="average") == message


def test_a_server_that_is_too_slow(asker: Asker) -> None:
    asker.answers(lambda request: Reply(forecast([1]), delay_s=30))
    with pytest.raises(Unreachable, match=r"did not answer (within|in time)"):
        asker(CarbonAwareSdk, "forecast", "northeurope", signal="average", seconds=0.3)


def test_the_signal_is_that_of_the_settings(home: Path) -> None:
    file = home / ".config/hpcfrugal/config.toml"
    file.write_text(
        '[forecasts.sdk]\nkind = "carbon-aware-sdk"\nurl = "http://carbon.example.org"\n'
        'signal = "marginal"\nzone = "IE"\nregion = "northeurope"\n'
    )
    config = load_config({"HOME": str(home)})
    assert [choice.region for choice in select(config, "IE", "marginal", "forecast").choices] == ["northeurope"]
    refused = select(config, "IE", "average", "forecast", provider="sdk")
    assert [error.message for error in refused.failed] == ["sdk: offers no average intensity, only marginal"]
    (mine,) = [line for line in listing(config) if line.name == "sdk"]
    assert (mine.zones, mine.signals, mine.state) == ("IE", ("marginal",), "ok")


def test_url_and_signal_are_required(home: Path) -> None:
    (home / ".config/hpcfrugal/config.toml").write_text('[forecasts.carbon-aware-sdk]\nzone = "IE"\n')
    config = load_config({"HOME": str(home)})
    with pytest.raises(InputError) as caught:
        listing(config)
    assert [(problem.where.rpartition(".")[2], problem.what) for problem in caught.value.problems] == [
        ("url", "is missing"), ("signal", "is missing"),
    ]  # fmt: skip
