"""Requests to one provider, at a server on loopback and at a fixed time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_grid import Grid, Reply, Request

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider
from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import Secret

NOW = datetime(2026, 11, 21, 8, 47, 12, 345, tzinfo=UTC)


class Asker:
    """Asks a provider at the server."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def answers(self, reply: Any) -> None:
        self.grid.answer = reply if callable(reply) else lambda request: Reply(reply)

    def __call__(
        self, made: type[Provider], what: str, zone: str, *secret: str,
        start: datetime = NOW, end: datetime = NOW + timedelta(hours=24), seconds: float = 5, **own: Any,
    ) -> IntensityAnswer:  # fmt: skip
        settings = made.settings_model(name="mine", kind=made.kind, url=self.grid.url, **own)
        provider = made(settings, Secret(secret, "TEST") if secret else None)
        ask = IntensityRequest(zone, provider.signals_with(settings)[0], start, end, NOW)
        method = provider.forecast if what == "forecast" else provider.actuals
        return method(ask, Client(time.monotonic() + seconds))

    def refused(self, *args: Any, **more: Any) -> str:
        with pytest.raises(SourceError) as caught:
            self(*args, **more)
        assert "\n" not in caught.value.message
        return caught.value.message

    @property
    def last(self) -> Request:
        return self.grid.requests[-1]
