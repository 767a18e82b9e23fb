"""WattTime, API v3: marginal operating emission rates of grid regions, with an account.

Shapes after <https://docs.watttime.org> and WattTime's own Python client: ``GET /login`` with HTTP Basic gives
``{"token"}``, valid for 30 minutes; it is requested at each refresh and stored nowhere.
``/v3/forecast?region&signal_type& horizon_hours`` (at most 72) and ``/v3/historical?region&signal_type&start&end``
(both ends inclusive, 30 days in that client) give ``{"data": [{"point_time", "value"}], "meta": {"region",
"signal_type", "units", "data_point_period_seconds", "generated_at"}}``. ``co2_moer`` comes in pounds per MWh. New
accounts see the region ``CAISO_NORTH`` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider
from hpcfrugal.carbon.readings import as_object, check_zone, parse_time, points_of
from hpcfrugal.carbon.series import SeriesKind
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import SecretSpec
from hpcfrugal.core.time import iso

G_PER_KWH_OF_LB_PER_MWH = 0.45359237
"""A pound is 453.59237 g (international yard and pound agreement of 1959), and a MWh 1000 kWh."""

_SIGNAL = "co2_moer"
_UNIT = "lbs_co2_per_mwh"
_LONGEST_HORIZON_H = 72


class WattTime(Provider):
    """Five-minute values of the marginal signal."""

    kind = "watttime"
    about = "WattTime"
    zones = "regions of WattTime such as CAISO_NORTH"
    url = "https://api.watttime.org"
    signals = ("marginal",)
    secret = SecretSpec((("WATTTIME_USER",), ("WATTTIME_PASSWORD",)), "user name and password, one a line")
    refresh = timedelta(minutes=5)
    span = timedelta(days=30)

    @staticmethod
    def serves(zone: str) -> bool:
        """Regions look like ``CAISO_NORTH`` or ``FR``; only the server knows which exist."""
        return "-" not in zone

    def forecast(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """The next 72 h."""
        return self._ask(request, client, "forecast", {"horizon_hours": _LONGEST_HORIZON_H})

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """The rate as known after the fact."""
        # Both ends are inclusive; the last point would hold beyond the range.
        last = request.end - timedelta(minutes=5)
        return self._ask(
            request, client, "historical", {"start": iso(request.start), "end": iso(max(request.start, last))}
        )

    def _ask(
        self, request: IntensityRequest, client: Client, what: str, params: Mapping[str, str | int]
    ) -> IntensityAnswer:
        reply = client.get(
            f"{self.base_url}/v3/{what}",
            params={"region": request.zone, "signal_type": _SIGNAL, **params},
            headers={"Authorization": f"Bearer {self._login(client)}"},
            secret=self.credentials,
        )
        body = as_object(reply.data, "answer")
        meta = as_object(body.get("meta"), "meta")
        check_zone(meta.get("region"), request.zone)
        for name, wanted in (("signal_type", _SIGNAL), ("units", _UNIT)):
            if meta.get(name) != wanted:
                raise ForecastError(f"{name} {meta.get(name)!r} instead of {wanted!r}")
        period = meta.get("data_point_period_seconds")
        if isinstance(period, bool) or not isinstance(period, int) or not 0 < period <= 86_400:
            raise ForecastError(f"invalid data_point_period_seconds {period!r}")
        points = points_of(body.get("data"), "point_time", "value", factor=G_PER_KWH_OF_LB_PER_MWH)
        issued_at = parse_time(meta["generated_at"]) if meta.get("generated_at") else None
        kind: SeriesKind = "forecast" if what == "forecast" else "actual"
        step = timedelta(seconds=period)
        return self.answer(request, points, kind, step=step, issued_at=issued_at, ttl_s=reply.ttl_s)

    def _login(self, client: Client) -> str:
        assert self.credentials is not None
        token = as_object(client.get(f"{self.base_url}/login", basic=self.credentials).data, "login").get("token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ForecastError("no token at login")
        return token
