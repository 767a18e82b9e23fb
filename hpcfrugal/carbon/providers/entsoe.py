"""ENTSO-E's transparency platform, through entsoe-py: an intensity calculated from the generation mix.

Needs the extra ``hpcfrugal[entsoe]`` and a token, so it has to be set up for a zone; zones are entsoe-py's names
(``FR``, ``DE_LU``, ``DK_1``). Calls and tables after the source of entsoe-py 0.8: ``query_generation`` (type A75,
actual per type), ``query_generation_forecast`` (A71, the sum for the day ahead), ``query_load_forecast`` and
``query_wind_and_solar_forecast`` (A69), each a table of MW by time.

Actuals: the mean of the life-cycle factors of ``hpcfrugal.accounting.tables`` (IPCC), weighted by the generation of
each type. Types without a factor (waste, storage, others) are left out and a note gives their share; above a quarter
the answer is refused. A time at which types with a tenth or more of the usual generation are unknown is a gap.

Forecast: wind and solar as forecast; the rest of the forecast generation (of the forecast load, if there is none) is
assumed to emit what all other types emitted on average over the last day. Imports and exports are left out in both.
This is a model of our own: good for the hours of wind and sun, blind to changes in the rest. It reaches to the end of
the day ahead, once published (18:00 Brussels time). If the sum is hourly and wind and solar come by the quarter, the
first quarter stands for the hour. The time of issue is unknown; the time of the request is used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from hpcfrugal.accounting.tables.electricity import generation_factors
from hpcfrugal.carbon.generation_mix import BASELINE, GenerationMix, mean_of_mixes, mix_intensities
from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider
from hpcfrugal.carbon.readings import parse_intensity, row_step
from hpcfrugal.core.errors import ForecastError, SourceError
from hpcfrugal.core.http import Client, check_credentials_may_go_to, refused_status
from hpcfrugal.core.secrets import SecretSpec
from hpcfrugal.core.time import whole_hour

_VARIABLE = ("Solar", "Wind Offshore", "Wind Onshore")


class Entsoe(Provider):
    """Values at the platform's resolution, an hour or a quarter."""

    kind = "entsoe"
    about = "ENTSO-E, calculated from the generation mix"
    zones = "names of entsoe-py such as FR and DE_LU, if the settings name it"
    url = "https://web-api.tp.entsoe.eu/api"
    secret = SecretSpec((("ENTSOE_API_KEY",),), "security token")
    refresh = timedelta(hours=1)
    span = timedelta(days=31)
    settles = timedelta(days=7)

    def forecast(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """To the end of the day ahead, once it is published."""
        start, end = whole_hour(request.now), whole_hour(request.now) + timedelta(hours=48)
        with _asking(self, client) as platform:
            past = _mix(
                platform.query_generation(
                    request.zone, **_range(request.now - timedelta(days=1), request.now), nett=True
                )
            )
            variable = _mix(platform.query_wind_and_solar_forecast(request.zone, **_range(start, end)))
            total = _total(platform, request.zone, start, end)
        rest = [{kind: mw for kind, mw in mix.items() if kind not in _VARIABLE} for _, mix in past]
        rest_g_per_kwh, unknown = mean_of_mixes(rest)
        points = []
        for at, mix in variable:
            # Only slots of which the sum and all parts are known.
            if at in total and total[at] > 0:
                known = {kind: mw for kind, mw in mix.items() if kind in _VARIABLE}
                others = max(0.0, total[at] - sum(known.values()))
                factors = generation_factors()
                emitted = sum(mw * factors[kind] for kind, mw in known.items()) + others * rest_g_per_kwh
                points.append((at, parse_intensity(emitted / (sum(known.values()) + others), at)))
        notes = ("calculated from the forecast of wind and solar; the rest as on the last day", *unknown)
        return self.answer(request, points, "forecast", notes=notes)

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """With a lag of an hour or more."""
        with _asking(self, client) as platform:
            span = _range(request.start - BASELINE, request.end)
            rows = _mix(platform.query_generation(request.zone, **span, nett=True))
        points, notes = mix_intensities(rows, request.start, request.end)
        return self.answer(request, points, "actual", step=row_step(points), notes=notes)


class _Quiet:
    """Keeps the library and its dependencies from logging the URL, which has the token, while they are asked, by
    however many threads."""

    def __init__(self) -> None:
        self._loggers = [logging.getLogger(name) for name in ("entsoe", "urllib3")]
        self._lock = Lock()
        self._askers = 0
        self._levels: list[int] = []

    def __enter__(self) -> None:
        with self._lock:
            if not self._askers:
                self._levels = [logger.level for logger in self._loggers]
                for logger in self._loggers:
                    logger.setLevel(logging.CRITICAL)
            self._askers += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._askers -= 1
            if not self._askers:
                for logger, level in zip(self._loggers, self._levels, strict=True):
                    logger.setLevel(level)


_QUIET = _Quiet()


@contextmanager
def _asking(provider: Entsoe, client: Client) -> Iterator[Any]:
    """entsoe-py's client. Its errors quote the URL with the token, so they are replaced by our own messages."""
    assert provider.credentials is not None
    try:
        import requests
        from entsoe import EntsoePandasClient
    except ImportError:
        raise ForecastError("needs entsoe-py", hint="pip install 'hpcfrugal[entsoe]'") from None
    check_credentials_may_go_to(provider.base_url)
    try:
        with _QUIET:
            yield EntsoePandasClient(
                api_key=provider.credentials.values[0], session=_session(provider.base_url), retry_count=1,
                retry_delay=0, timeout=client.remaining_s(),
            )  # fmt: skip
    except SourceError:
        raise
    except requests.HTTPError as error:
        if error.response is None:
            raise ForecastError("request rejected") from None
        raise refused_status(error.response.status_code, error.response.headers, provider.credentials) from None
    except requests.Timeout:
        raise ForecastError("did not answer in time") from None
    except requests.RequestException as error:
        raise ForecastError(f"cannot be reached ({type(error).__name__})") from None
    except Exception as error:
        # The library lets any exception of its parsers through: no data, an unknown zone, another format.
        raise ForecastError(f"no intensities (entsoe-py: {type(error).__name__})") from None


def _session(url: str) -> Any:
    """A session of requests that asks at ``url`` whatever it is told: entsoe-py has the address as a constant."""
    import requests

    session: Any = requests.Session()
    send = session.request

    def request(method: Any, _: Any, *more: Any, **options: Any) -> Any:
        # The token is a parameter of the request, which must not follow a redirect to another server.
        response = send(method, url, *more, **{**options, "allow_redirects": False})
        if response.is_redirect:
            raise requests.HTTPError(response=response)
        return response

    session.request = request
    return session


def _range(start: datetime, end: datetime) -> dict[str, Any]:
    import pandas as pd

    return {"start": pd.Timestamp(whole_hour(start)), "end": pd.Timestamp(whole_hour(end + timedelta(hours=1)))}


def _mix(frame: Any) -> list[tuple[datetime, GenerationMix]]:
    """Rows of MW by type; unknown values are left out. For a single type the library returns a series, not a table."""
    frame = frame.to_frame() if hasattr(frame, "to_frame") else frame
    return [
        (
            at.to_pydatetime().astimezone(UTC),
            {str(kind): float(mw) for kind, mw in row.items() if mw == mw},
        )
        for at, row in frame.iterrows()
    ]


def _total(platform: Any, zone: str, start: datetime, end: datetime) -> dict[datetime, float]:
    """Forecast MW of all generation; of the load if the zone has no forecast of generation."""
    from entsoe.exceptions import NoMatchingDataError

    try:
        frame = platform.query_generation_forecast(zone, **_range(start, end), nett=True)
    except NoMatchingDataError:
        frame = platform.query_load_forecast(zone, **_range(start, end))
    sums = {at: sum(mix.values()) for at, mix in _mix(frame) if mix}
    if not sums:
        raise ForecastError("no forecast of generation or load")
    return sums
