"""WattTime, API v3: marginal operating emission rates of grid regions, with an account.

Shapes after <https://docs.watttime.org> and WattTime's own Python client: ``GET /login`` with HTTP Basic gives
``{"token"}``, good for 30 minutes; it is asked for at each refresh and kept nowhere.
``/v3/forecast?region&signal_type& horizon_hours`` (at most 72) and ``/v3/historical?region&signal_type&start&end``
(both ends inclusive, 30 days in that client) give ``{"data": [{"point_time", "value"}], "meta": {"region",
"signal_type", "units", "data_point_period_seconds", "generated_at"}}``. ``co2_moer`` comes in pounds per MWh. New
accounts see the region ``CAISO_NORTH`` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hpcfrugal.carbon.providers.base import Answer, Ask, Standard
from hpcfrugal.carbon.readings import intensity, moment, rows, same_zone, series_of, table
from hpcfrugal.carbon.series import Kind
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.http import Client, Reply
from hpcfrugal.core.secrets import SecretSpec
from hpcfrugal.core.time import iso

G_PER_KWH_OF_LB_PER_MWH = 0.45359237
"""A pound is 453.59237 g (international yard and pound agreement of 1959), and a MWh 1000 kWh."""

_SIGNAL = "co2_moer"
_UNIT = "lbs_co2_per_mwh"
_LONGEST_HORIZON_H = 72


class WattTime(Standard):
    """Five-minute figures of the marginal signal."""

    kind = "watttime"
    about = "WattTime, marginal emissions"
    url = "https://api.watttime.org"
    signals = ("marginal",)
    secret = SecretSpec((("WATTTIME_USER",), ("WATTTIME_PASSWORD",)), "user name and password, one a line")
    refresh = timedelta(minutes=5)
    span = timedelta(days=30)

    @staticmethod
    def serves(zone: str) -> bool:
        """Regions are named in capitals with underscores (``CAISO_NORTH``, ``FR``); who knows which is the server."""
        return "-" not in zone

    def forecast(self, ask: Ask, client: Client) -> Answer:
        """The next 72 h."""
        return self._ask(ask, client, "forecast", {"horizon_hours": _LONGEST_HORIZON_H})

    def actuals(self, ask: Ask, client: Client) -> Answer:
        """The rate as it is known after the fact."""
        # Both ends are inclusive, and the last point would hold beyond the range.
        last = ask.end - timedelta(minutes=5)
        return self._ask(ask, client, "historical", {"start": iso(ask.start), "end": iso(max(ask.start, last))})

    def _ask(self, ask: Ask, client: Client, what: str, params: Mapping[str, str | int]) -> Answer:
        reply = client.get(
            f"{self.base_url}/v3/{what}",
            params={"region": ask.zone, "signal_type": _SIGNAL, **params},
            headers={"Authorization": f"Bearer {self._login(client)}"},
            secret=self.credentials,
        )
        told = table(reply.data, "its answer")
        meta = table(told.get("meta"), "its description")
        same_zone(meta.get("region"), ask.zone)
        for name, wanted in (("signal_type", _SIGNAL), ("units", _UNIT)):
            if meta.get(name) != wanted:
                raise ForecastError(f"gave {meta.get(name)!r} as {name} instead of {wanted!r}")
        return self._answer(ask, reply, told, meta, "forecast" if what == "forecast" else "actual")

    def _login(self, client: Client) -> str:
        assert self.credentials is not None
        token = table(client.get(f"{self.base_url}/login", basic=self.credentials).data, "its login").get("token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ForecastError("gave no token at login")
        return token

    def _answer(self, ask: Ask, reply: Reply, told: Mapping[str, Any], meta: Mapping[str, Any], kind: Kind) -> Answer:
        points = []
        for row in rows(told.get("data"), "figures"):
            at = moment(row.get("point_time"))
            points.append((at, intensity(row.get("value"), at, factor=G_PER_KWH_OF_LB_PER_MWH)))
        period = meta.get("data_point_period_seconds")
        if isinstance(period, bool) or not isinstance(period, int) or not 0 < period <= 86_400:
            raise ForecastError(f"gave {period!r} as the seconds that a figure holds")
        issued_at = None
        if kind == "forecast":
            issued_at = moment(meta["generated_at"]) if meta.get("generated_at") else ask.now
        series = series_of(
            points, step=timedelta(seconds=period), zone=ask.zone, signal="marginal", kind=kind, provider=self.kind,
            issued_at=issued_at,
        )  # fmt: skip
        return Answer(series, ttl_s=reply.ttl_s)
