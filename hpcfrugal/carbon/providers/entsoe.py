"""ENTSO-E's transparency platform, by way of entsoe-py: an intensity worked out from the mix of generation.

Needs the extra ``hpcfrugal[entsoe]`` and a token; zones are entsoe-py's names (``FR``, ``DE_LU``, ``DK_1``). Calls
and tables after the source of entsoe-py 0.8: ``query_generation`` (type A75, actual per type),
``query_generation_forecast`` (A71, the sum for the day ahead), ``query_load_forecast`` and
``query_wind_and_solar_forecast`` (A69), each a table of MW by time.

What was: the mean of the life-cycle factors of ``hpcfrugal.accounting.tables`` (IPCC), weighted by the
generation of each type.
Types without a factor (waste, storage, others) are left out and their share is told; above a quarter the answer is
refused. A time at which types are unknown that make a tenth of the usual generation is a gap.

Forecast: wind and sun as forecast; the rest of the forecast generation (of the forecast load, where there is none) is
taken to emit what all but wind and sun emitted on average over the last day. Imports and exports are left out in
both. That is a model of our own: good for the hours of wind and sun, blind to what the rest will be. It reaches to
the end of the day ahead, once published (18:00 Brussels time). Where the sum is hourly and wind and sun are told by
the quarter, the first quarter stands for the hour. When it was issued is not told; the time of the question is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from hpcfrugal.accounting.tables.electricity import generation_factors
from hpcfrugal.carbon.providers.base import Answer, Ask, Standard
from hpcfrugal.carbon.readings import intensity, row_step, series_of
from hpcfrugal.core.errors import ForecastError, SourceError
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import SecretSpec

_VARIABLE = ("Solar", "Wind Offshore", "Wind Onshore")
_MOST_UNKNOWN = 0.25
_MOST_MISSING = 0.1
_Mix = list[tuple[datetime, dict[str, float]]]


class Entsoe(Standard):
    """Figures at the platform's resolution, an hour or a quarter."""

    kind = "entsoe"
    about = "ENTSO-E, worked out from the generation mix, Europe"
    secret = SecretSpec((("ENTSOE_API_KEY",),), "security token")
    refresh = timedelta(hours=1)
    span = timedelta(days=31)
    settles = timedelta(days=7)

    @staticmethod
    def serves(zone: str) -> bool:
        """None by itself: it needs an extra, so it has to be named."""
        return False

    def forecast(self, ask: Ask, client: Client) -> Answer:
        """To the end of the day ahead, as far as it is published."""
        start, end = _hour(ask.now), _hour(ask.now) + timedelta(hours=48)
        with _asking(self, client) as platform:
            past = _mix(platform.query_generation(ask.zone, **_range(ask.now - timedelta(days=1), ask.now), nett=True))
            variable = _mix(platform.query_wind_and_solar_forecast(ask.zone, **_range(start, end)))
            total = _total(platform, ask.zone, start, end)
        rest = [{kind: mw for kind, mw in mix.items() if kind not in _VARIABLE} for _, mix in past]
        rest_g_per_kwh, unknown = _mean(rest)
        points = []
        for at, mix in variable:
            # A slot counts only where the sum and all of its parts are known.
            if at in total and total[at] > 0:
                known = {kind: mw for kind, mw in mix.items() if kind in _VARIABLE}
                others = max(0.0, total[at] - sum(known.values()))
                factors = generation_factors()
                emitted = sum(mw * factors[kind] for kind, mw in known.items()) + others * rest_g_per_kwh
                points.append((at, intensity(emitted / (sum(known.values()) + others), at)))
        series = series_of(
            points, zone=ask.zone, signal="average", kind="forecast", provider=self.kind, issued_at=ask.now
        )
        return Answer(series, ("worked out from the forecast of wind and sun; the rest as in the last day", *unknown))

    def actuals(self, ask: Ask, client: Client) -> Answer:
        """What was, with a lag of an hour or more."""
        with _asking(self, client) as platform:
            told = _mix(platform.query_generation(ask.zone, **_range(ask.start, ask.end), nett=True))
        _, unknown = _mean([mix for _, mix in told])
        usual = _usual(told)
        points = [
            (at, intensity(_mean([mix])[0], at) if _is_whole(mix, usual) else None) for at, mix in told if at < ask.end
        ]
        series = series_of(
            points, zone=ask.zone, signal="average", kind="actual", provider=self.kind, step=row_step(points)
        )
        return Answer(series, ("worked out from the generation mix, without imports", *unknown))


@contextmanager
def _asking(provider: Entsoe, client: Client) -> Iterator[Any]:
    """entsoe-py's client. Its errors quote the address with the token, so only our own words leave here."""
    assert provider.credentials is not None
    try:
        import requests
        from entsoe import EntsoePandasClient
    except ImportError:
        raise ForecastError("needs entsoe-py", hint="pip install 'hpcfrugal[entsoe]'") from None
    # At level DEBUG it and what it uses write the address, with the token, into the log.
    loggers = [logging.getLogger(name) for name in ("entsoe", "urllib3")]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield EntsoePandasClient(
            api_key=provider.credentials.values[0], retry_count=1, retry_delay=0, timeout=client.remaining_s()
        )
    except SourceError:
        raise
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise ForecastError(f"refused the credentials from {provider.credentials.origin} (HTTP {status})") from None
        raise ForecastError(f"refused the question (HTTP {status})") from None
    except requests.Timeout:
        raise ForecastError("did not answer in time") from None
    except requests.RequestException as error:
        raise ForecastError(f"cannot be reached ({type(error).__name__})") from None
    except Exception as error:
        # The library lets whatever its parsers meet through: no data, an unknown zone, a table of another form.
        raise ForecastError(f"gave no figures (entsoe-py: {type(error).__name__})") from None


def _range(start: datetime, end: datetime) -> dict[str, Any]:
    import pandas as pd

    return {"start": pd.Timestamp(_hour(start)), "end": pd.Timestamp(_hour(end + timedelta(hours=1)))}


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _mix(frame: Any) -> _Mix:
    """Rows of MW by type; what is not known is left out. A single type comes as a column without a table."""
    frame = frame.to_frame() if hasattr(frame, "to_frame") else frame
    return [
        (
            at.to_pydatetime().astimezone(UTC),
            {str(kind): float(mw) for kind, mw in row.items() if mw == mw},
        )
        for at, row in frame.iterrows()
    ]


def _usual(told: _Mix) -> dict[str, float]:
    """Mean MW of each type over the times at which it is known."""
    known: dict[str, list[float]] = {}
    for _, mix in told:
        for kind, mw in mix.items():
            known.setdefault(kind, []).append(max(0.0, mw))
    return {kind: sum(values) / len(values) for kind, values in known.items()}


def _is_whole(mix: dict[str, float], usual: dict[str, float]) -> bool:
    """Whether the types that are not known at a time are few: types come in late one by one."""
    missing = sum(mw for kind, mw in usual.items() if kind not in mix)
    return missing < sum(usual.values()) * _MOST_MISSING and any(mw > 0 for mw in mix.values())


def _total(platform: Any, zone: str, start: datetime, end: datetime) -> dict[datetime, float]:
    """MW of all generation as forecast; of the load where the zone forecasts none."""
    from entsoe.exceptions import NoMatchingDataError

    try:
        frame = platform.query_generation_forecast(zone, **_range(start, end), nett=True)
    except NoMatchingDataError:
        frame = platform.query_load_forecast(zone, **_range(start, end))
    sums = {at: sum(mix.values()) for at, mix in _mix(frame) if mix}
    if not sums:
        raise ForecastError("gave no forecast of generation or load")
    return sums


def _mean(mixes: list[dict[str, float]]) -> tuple[float, tuple[str, ...]]:
    """g/kWh of what has a factor, and a note of the share that has none. Raises ForecastError above a quarter."""
    factors = generation_factors()
    known = unknown = emitted = 0.0
    for mix in mixes:
        for kind, mw in mix.items():
            if mw > 0:
                known += mw if kind in factors else 0.0
                unknown += 0.0 if kind in factors else mw
                emitted += mw * factors.get(kind, 0.0)
    if known <= 0:
        raise ForecastError("gave no generation of a known type")
    share = unknown / (known + unknown)
    if share > _MOST_UNKNOWN:
        raise ForecastError(f"gave {share:.0%} of the generation as types without a known factor")
    return emitted / known, (f"{share:.1%} of the generation has no known factor and is left out",) if share else ()
