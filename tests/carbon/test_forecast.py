"""Forecasts and actuals as the program asks for them: kept, stale, refused, and in time."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_grid import Grid, Reply, Request, half_hours, this_half_hour

from hpcfrugal.carbon import forecast as module
from hpcfrugal.carbon.forecast import Actuals, Forecast, get_actuals, get_forecast
from hpcfrugal.core.errors import ForecastError, InputError
from hpcfrugal.settings.config import load_config

HALF = timedelta(minutes=30)
HOUR = timedelta(hours=1)
TOKEN = "s3cret-t0ken"


class User:
    """A user whose settings lead to the server; the clock can be set forward."""

    def __init__(self, home: Path, grid: Grid) -> None:
        self.home, self.grid = home, grid
        self.late = timedelta(0)
        self.settings(f'[carbon]\nzone = "GB"\n[forecasts.gb]\nkind = "carbonintensity-gb"\nurl = "{grid.url}"\n')
        self.says(100, 200)

    def settings(self, text: str) -> None:
        (self.home / ".config/hpcfrugal/config.toml").write_text(text)

    def says(self, *values: Any, **more: Any) -> None:
        self.grid.answer = lambda request: Reply(half_hours(this_half_hour(self.now()), list(values) * 24), **more)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.late

    def forecast(self, zone: str | None = None, **more: Any) -> Forecast:
        config, now = load_config(), self.now()
        return get_forecast(
            config, zone, more.pop("signal", "average"), more.pop("start", now), more.pop("end", now + 24 * HOUR),
            clock=self.now, **more,
        )  # fmt: skip

    def actuals(self, start: datetime, end: datetime, zone: str | None = None, **more: Any) -> Actuals:
        config = load_config()
        return get_actuals(config, zone, "average", start, end, clock=self.now, **more)

    def refused(self, ask: Callable[[], object]) -> ForecastError:
        begun = time.monotonic()
        with pytest.raises(ForecastError) as caught:
            ask()
        assert time.monotonic() - begun < 5
        assert "\n" not in caught.value.message
        assert caught.value.exit_code == 3
        return caught.value

    def written(self) -> str:
        """All that lies in the home besides the settings."""
        files = [path for path in self.home.rglob("*") if path.is_file() and ".config" not in path.parts]
        return "".join(path.read_text() for path in files)


@pytest.fixture
def user(home: Path, grid: Grid) -> User:
    return User(home, grid)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that tests of slow servers don't take seconds."""
    monkeypatch.setattr(module, "BUDGET_S", 0.6)


class TestTime:
    def test_a_single_provider_has_three_seconds(self, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
        given_s: list[float] = []
        real = module.Fetcher.fetch

        def fetch(self: Any, *arguments: Any) -> Any:
            given_s.append(arguments[-1] - time.monotonic())
            return real(self, *arguments)

        monkeypatch.setattr(module.Fetcher, "fetch", fetch)
        user.forecast()
        (left_s,) = given_s
        assert 1 < left_s <= 3


class TestKept:
    def test_one_request_until_it_expires(self, user: User) -> None:
        first = user.forecast()
        assert first.provider == "gb"
        assert not first.stale
        assert first.series.kind == "forecast"
        assert first.series.issued_at == first.issued_at
        again = user.forecast(end=user.now() + 2 * HOUR)
        assert again.issued_at == first.issued_at
        assert len(user.grid.requests) == 1, "another job with another horizon has the same answer"
        user.late = timedelta(minutes=20)
        assert user.forecast().age >= timedelta(minutes=20)
        user.late = timedelta(minutes=31)
        assert user.forecast().issued_at > first.issued_at
        assert len(user.grid.requests) == 2

    @pytest.mark.parametrize(
        ("header", "still_at_s", "gone_at_s"),
        [
            ("max-age=600", 590, 610),
            ("max-age=5", 55, 65),  # a burst of jobs is one request, whatever the server says
            ("no-store", 1790, 1810),
            ("max-age=999999999", 86_000, 87_000),
        ],
    )
    def test_as_long_as_the_server_says(self, user: User, header: str, still_at_s: float, gone_at_s: float) -> None:
        user.says(100, 200, headers={"Cache-Control": header})
        user.forecast()
        for late, requests in ((still_at_s, 1), (gone_at_s, 2)):
            user.late = timedelta(seconds=late)
            user.forecast(start=user.now() - 30 * HOUR, end=user.now() + HOUR)
            assert len(user.grid.requests) == requests

    def test_as_long_as_the_settings_say(self, user: User) -> None:
        url = user.grid.url
        user.settings(f'[forecasts.gb]\nkind = "carbonintensity-gb"\nzone = "GB"\nurl = "{url}"\nrefresh = "5m"\n')
        user.forecast("GB")
        user.late = timedelta(minutes=6)
        user.forecast("GB")
        assert len(user.grid.requests) == 2

    def test_asked_again_on_demand(self, user: User) -> None:
        user.forecast()
        user.forecast(refresh=True)
        assert len(user.grid.requests) == 2

    def test_each_request_has_its_own_answer(self, user: User) -> None:
        user.forecast()
        region = {"regionid": 13, "data": half_hours(this_half_hour(), [7] * 48)["data"]}
        user.grid.answer = lambda request: Reply({"data": region})
        assert set(user.forecast("GB-13").series.values) == {7.0}
        assert user.forecast("GB-13").series.zone == "GB-13"
        assert set(user.forecast().series.values) == {100.0, 200.0}
        assert len(user.grid.requests) == 2

    def test_a_damaged_answer_is_reported_and_replaced(self, user: User) -> None:
        user.forecast()
        (path,) = (user.home / ".cache/hpcfrugal/carbon").glob("*.json")
        path.write_text('{"schema": 1, "key"')
        got = user.forecast()
        assert got.notes == (f"{path}: ignored: damaged",)
        assert user.forecast().notes == ()
        assert len(user.grid.requests) == 2

    @pytest.mark.slow
    def test_ten_processes_make_one_request(self, user: User) -> None:
        user.says(100, 200, delay_s=0.3)
        code = (
            "from datetime import UTC, datetime, timedelta\n"
            "from hpcfrugal.carbon.forecast import get_forecast\n"
            "from hpcfrugal.settings.config import load_config\n"
            "now = datetime.now(UTC)\n"
            "got = get_forecast(load_config(), None, 'average', now, now + timedelta(hours=2))\n"
            "print(got.issued_at.isoformat())\n"
        )
        env = {"HOME": str(user.home), "PATH": "/usr/bin:/bin"}
        processes = [
            subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(10)
        ]
        told = [process.communicate(timeout=60) for process in processes]
        assert [process.returncode for process in processes] == [0] * 10, told
        assert len(user.grid.requests) == 1
        assert len({out for out, _ in told}) == 1


class TestFailing:
    def test_the_last_answer_stands_in_with_its_age(self, user: User) -> None:
        first = user.forecast()
        user.late = timedelta(hours=3)
        user.grid.answer = lambda request: Reply(b"<html>", 200)
        got = user.forecast()
        assert got.stale
        assert got.issued_at == first.issued_at
        assert got.notes == ("gb: sent an HTML page instead of JSON; its answer from 3.0 h ago is used",)
        user.late = timedelta(hours=25)
        assert "HTML page" in user.refused(user.forecast).message, "a day is the end of it"

    def test_an_old_answer_without_future_values_is_ignored(self, user: User) -> None:
        user.grid.answer = lambda request: Reply(half_hours(this_half_hour(user.now()), [1, 2, 3, 4]))
        user.forecast()
        user.late = timedelta(hours=4)
        user.grid.answer = lambda request: Reply({}, 500)
        assert user.refused(user.forecast).message == "gb: server error (HTTP 500)"

    def test_a_failure_is_not_tried_again_at_once(self, user: User) -> None:
        user.grid.answer = lambda request: Reply({}, 503)
        assert user.refused(user.forecast).message == "gb: server error (HTTP 503)"
        user.late = timedelta(seconds=12)
        assert user.refused(user.forecast).message == "gb: server error (HTTP 503) (12 s ago)"
        assert len(user.grid.requests) == 1
        user.refused(lambda: user.forecast(refresh=True))
        assert len(user.grid.requests) == 2
        user.late = timedelta(seconds=60)
        user.says(1, 2)
        assert not user.forecast().stale

    def test_an_answer_ends_an_earlier_failure(self, user: User) -> None:
        user.grid.answer = lambda request: Reply({}, 429, {"Retry-After": "3600"})
        user.refused(user.forecast)
        user.says(1, 2)
        user.forecast(refresh=True)
        user.late = timedelta(minutes=45)
        user.forecast()
        assert len(user.grid.requests) == 3, "the answer is no longer valid, and the failure no longer counts"

    def test_a_rate_limit_is_respected(self, user: User) -> None:
        user.grid.answer = lambda request: Reply({}, 429, {"Retry-After": "600"})
        user.refused(user.forecast)
        user.late = timedelta(seconds=590)
        user.refused(user.forecast)
        assert len(user.grid.requests) == 1
        user.late = timedelta(seconds=610)
        user.refused(user.forecast)
        assert len(user.grid.requests) == 2

    def test_a_rate_limit_is_respected_for_an_hour_at_most(self, user: User) -> None:
        user.grid.answer = lambda request: Reply({}, 429, {"Retry-After": "7200"})
        user.refused(user.forecast)
        user.late = timedelta(seconds=3590)
        user.refused(user.forecast)
        assert len(user.grid.requests) == 1
        user.late = timedelta(seconds=3610)
        user.refused(user.forecast)
        assert len(user.grid.requests) == 2

    @pytest.mark.usefixtures("brief")
    @pytest.mark.parametrize("slow", [Reply({}, delay_s=30), Reply(b"[" + b" " * 9000 + b"]", drip_s=0.01)])
    def test_a_slow_server(self, user: User, slow: Reply) -> None:
        user.grid.answer = lambda request: slow
        begun = time.monotonic()
        message = user.refused(user.forecast).message
        assert re.fullmatch(r"gb: did not answer (within 0\.\d s|in time)", message)
        assert time.monotonic() - begun < 15  # the answer takes 30 s at least

    def test_a_forecast_of_the_past(self, user: User) -> None:
        user.grid.answer = lambda request: Reply(half_hours(this_half_hour() - 9 * HOUR, [1, 2, 3]))
        assert "returned a forecast that ended at" in user.refused(user.forecast).message

    def test_a_time_that_is_not_reached(self, user: User) -> None:
        start = user.now() + 100 * HOUR
        message = user.refused(lambda: user.forecast(start=start, end=start + HOUR)).message
        assert message.startswith("gb: covers only ")

    def test_gaps_stay_gaps(self, user: User) -> None:
        user.says(100, None, 300)
        assert user.forecast().series.has_gaps

    def test_a_slow_one_leaves_time_for_the_next(self, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "BUDGET_S", 60)
        given_s: dict[str, float] = {}
        real = module.Fetcher.fetch

        def fetch(self: Any, choice: Any, *arguments: Any) -> Any:
            name = choice.settings.name
            given_s[name] = arguments[-1] - time.monotonic()
            deadline = time.monotonic() + 0.2 if name == "slow" else arguments[-1]
            return real(self, choice, *arguments[:-1], deadline)

        monkeypatch.setattr(module.Fetcher, "fetch", fetch)
        other = Grid(lambda request: Reply({}, delay_s=30))
        try:
            user.settings(
                f'[forecasts.slow]\nkind = "carbonintensity-gb"\nurl = "{other.url}"\nzone = "GB"\n'
                f'[forecasts.fast]\nkind = "carbonintensity-gb"\nurl = "{user.grid.url}"\nzone = "GB"\n'
            )
            got = user.forecast("GB")
            assert got.provider == "fast"
            assert got.notes[0].startswith("slow: did not answer ")
            assert 15 < given_s["slow"] <= 30
            assert 30 < given_s["fast"] <= 60
        finally:
            other.stop()

    def test_where_answers_cannot_be_kept(self, user: User) -> None:
        (user.home / ".cache").write_text("in the way")
        got = user.forecast()
        assert any("answers are not cached" in note for note in got.notes)


class TestSecrets:
    def test_a_token_is_nowhere(
        self, user: User, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        caplog.set_level(logging.DEBUG)
        user.settings(f'[forecasts.em]\nkind = "electricitymaps"\nurl = "{user.grid.url}"\nzone = "FR"\n')
        monkeypatch.setenv("ELECTRICITYMAPS_TOKEN", TOKEN)
        hour = this_half_hour().replace(minute=0)
        rows = [{"datetime": f"{hour + index * HOUR:%Y-%m-%dT%H:%M:%SZ}", "carbonIntensity": 50} for index in range(24)]
        user.grid.answer = lambda request: Reply({"zone": "FR", "forecast": rows})
        got = user.forecast("FR")
        assert user.grid.requests[0].headers["auth-token"] == TOKEN
        user.grid.answer = lambda request: Reply({"error": TOKEN}, 401)
        error = user.refused(lambda: _again(user))
        refused = "em: refused the credentials from ELECTRICITYMAPS_TOKEN (HTTP 401)"
        assert error.message == f"{refused}; the free tier has no forecast"
        for text in (repr(got), repr(error), str(error.hint), user.written(), caplog.text):
            assert TOKEN not in text

    def test_a_missing_token(self, user: User) -> None:
        user.settings("")
        error = user.refused(lambda: user.forecast("US-CAL-CISO"))
        assert error.message == "no provider offers an average-intensity forecast for zone 'US-CAL-CISO'"
        assert error.hint == "with credentials: electricitymaps (ELECTRICITYMAPS_TOKEN)"
        error = user.refused(lambda: user.forecast("US-CAL-CISO", provider="electricitymaps"))
        assert error.message == "electricitymaps: no credentials found"
        assert user.grid.requests == []

    def test_a_file_that_others_can_read(self, user: User) -> None:
        token = user.home / "token"
        token.write_text(TOKEN)
        token.chmod(0o644)
        user.settings(
            f'[forecasts.em]\nkind = "electricitymaps"\nurl = "{user.grid.url}"\nzone = "FR"\ntoken_file = "{token}"\n'
        )
        error = user.refused(lambda: user.forecast("FR"))
        assert "can be read by others" in error.message
        assert error.hint == f"chmod 600 {token}"
        assert user.grid.requests == []


def _again(user: User) -> Forecast:
    """Asked anew after the answer that is kept has become too old to stand in."""
    user.late = timedelta(hours=30)
    return user.forecast("FR")


class TestWhom:
    def test_no_zone(self, user: User) -> None:
        user.settings("")
        error = user.refused(user.forecast)
        assert error.message == "no grid zone is set"
        assert "HPCFRUGAL_ZONE" in (error.hint or "")

    @pytest.mark.parametrize("zone", ["a'; rm -rf ~ #", "../../etc/passwd", "x" * 65, "FR\n", "é"])
    def test_an_invalid_zone_name(self, user: User, zone: str) -> None:
        assert "needs a name of up to 64 letters" in user.refused(lambda: user.forecast(zone)).message
        assert user.grid.requests == []

    def test_zone_of_the_provider_that_is_named(self, user: User) -> None:
        user.settings(f'[forecasts.gb]\nkind = "carbonintensity-gb"\nurl = "{user.grid.url}"\nzone = "GB"\n')
        assert user.forecast(provider="gb").series.zone == "GB"
        message = user.refused(lambda: user.forecast("FR", provider="gb")).message
        assert message == "gb: is set up for zone 'GB', not for 'FR'"

    def test_a_zone_by_another_name(self, user: User) -> None:
        user.settings(
            f'[forecasts.gb]\nkind = "carbonintensity-gb"\nurl = "{user.grid.url}"\nzone = "campus"\nregion = "GB"\n'
        )
        assert user.forecast("campus").series.zone == "campus"

    def test_an_unknown_provider_in_the_settings(self, user: User) -> None:
        user.settings(
            f'[carbon]\nprovider = "campsu"\n[forecasts.campus]\nkind = "carbonintensity-gb"\nurl = "{user.grid.url}"\n'
        )
        with pytest.raises(InputError) as caught:
            user.forecast("GB")
        (problem,) = caught.value.problems
        assert problem.where == f"{user.home / '.config/hpcfrugal/config.toml'}:2: carbon.provider"
        assert (problem.what, problem.hint) == ("unknown provider 'campsu'", "did you mean campus?")
        assert user.forecast("GB", provider="campus").series.zone == "GB", "who is named is asked all the same"

    def test_no_provider(self, user: User) -> None:
        assert user.refused(lambda: user.forecast(provider="nobody")).message == "unknown provider 'nobody'"
        user.settings("")
        message = user.refused(lambda: user.forecast("GB", signal="marginal")).message
        assert message == "no provider offers a marginal-intensity forecast for zone 'GB'"
        message = user.refused(lambda: user.forecast("GB", provider="energy-charts", signal="marginal")).message
        assert message == "energy-charts: offers no marginal intensity, only average"
        message = user.refused(lambda: user.forecast("FR", provider="rte-eco2mix")).message
        assert message == "rte-eco2mix: offers no forecasts"
        assert user.refused(lambda: user.forecast("FR", provider="file")).message == "file: needs path"


class TestActuals:
    def serve(self, user: User) -> None:
        def answer(request: Request) -> Reply:
            first, last = (datetime.fromisoformat(text) for text in request.path.split("/")[2:4])
            count = int((min(last, user.now()) - first) / HALF)
            return Reply(half_hours(first, [999] * count, actual=50))

        user.grid.answer = answer

    def test_actual_values(self, user: User) -> None:
        self.serve(user)
        end = user.now()
        got = user.actuals(end - 3 * HOUR, end - HOUR)
        assert set(got.series.values) == {50.0}
        assert got.series.kind == "actual"
        assert (got.series.start, got.series.end) == (end - 3 * HOUR, end - HOUR)
        assert got.settled_before < end - 23 * HOUR
        user.actuals(end - 3 * HOUR, end - HOUR)
        assert len(user.grid.requests) == 1

    def test_a_long_time_in_pieces(self, user: User) -> None:
        self.serve(user)
        end = user.now() - 5 * 24 * HOUR
        got = user.actuals(end - 40 * 24 * HOUR, end)
        assert len(user.grid.requests) == 3
        assert set(got.series.values) == {50.0}
        assert not got.series.has_gaps
        user.late = timedelta(hours=3)
        user.actuals(end - 40 * 24 * HOUR, end)
        assert len(user.grid.requests) == 3, "what is settled is kept for a day"

    def test_a_part_is_better_than_nothing(self, user: User) -> None:
        self.serve(user)
        serve = user.grid.answer
        user.grid.answer = lambda request: serve(request) if len(user.grid.requests) < 2 else Reply({}, 500)
        end = user.now() - 5 * 24 * HOUR
        got = user.actuals(end - 40 * 24 * HOUR, end)
        assert got.series.end - got.series.start < 15 * 24 * HOUR
        assert "gb: server error" in got.notes[0]

    def test_future_actuals_are_refused(self, user: User) -> None:
        start = user.now() + HOUR
        assert "no actual intensities yet" in user.refused(lambda: user.actuals(start, start + HOUR)).message
        assert user.grid.requests == []


class TestProvidersOfOthers:
    def add(self, user: User, monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
        """A distribution with an entry point, on the path of this process."""
        (folder / "other_grid.py").write_text(code)
        info = folder / "other_grid-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-grid\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[hpcfrugal.forecasts]\nother-grid = other_grid:Other\n")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "other_grid", raising=False)
        user.settings('[forecasts.mine]\nkind = "other-grid"\nzone = "lab"\nfactor = 3\n')

    CODE = (
        "from datetime import timedelta\n"
        "from hpcfrugal.carbon import CarbonSeries\n"
        "from hpcfrugal.carbon.providers.base import Provider, IntensityAnswer, ProviderSettings\n"
        "from hpcfrugal.core.section import required\n"
        "from hpcfrugal.settings.values import integer\n"
        "class OtherSettings(ProviderSettings):\n"
        "    factor: int = required(integer(1, 9))\n"
        "class Other(Provider):\n"
        "    kind, about = 'other-grid', 'a test'\n"
        "    settings_model = OtherSettings\n"
        "    @staticmethod\n"
        "    def serves(zone): return False\n"
        "    def forecast(self, request, client):\n"
        "        BODY\n"
    )

    def test_one_is_found_and_asked(self, user: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        body = (
            "return IntensityAnswer(CarbonSeries.from_values("
            "request.now, timedelta(hours=9), [self.settings.factor], "
            "zone=request.zone, signal=request.signal, kind='forecast', issued_at=request.now, provider=self.kind))"
        )
        self.add(user, monkeypatch, tmp_path, self.CODE.replace("BODY", body))
        assert user.forecast("lab").series.values == (3.0,)

    @pytest.mark.parametrize("body", [f"raise RuntimeError('{TOKEN}')", "return None", "return IntensityAnswer(None)"])
    def test_one_that_is_broken(self, user: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str) -> None:
        self.add(user, monkeypatch, tmp_path, self.CODE.replace("BODY", body))
        message = user.refused(lambda: user.forecast("lab")).message
        assert message.startswith(("mine: failed (", "mine: returned no series"))
        assert TOKEN not in message + user.written()

    def test_one_that_cannot_be_loaded(self, user: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.add(user, monkeypatch, tmp_path, "import nothing_of_this_name\n")
        with pytest.raises(InputError, match="cannot be loaded \\(ModuleNotFoundError\\)"):
            user.forecast("lab")


def test_a_provider_without_credentials_is_noted_on_the_forecast_of_another(user: User) -> None:
    mine = f'[forecasts.gb]\nkind = "carbonintensity-gb"\nurl = "{user.grid.url}"\n'
    lacking = '[forecasts.em]\nkind = "electricitymaps"\n'
    for text in (lacking + mine, mine + lacking):
        user.settings(f'[carbon]\nzone = "GB"\n{text}')
        found = user.forecast()
        assert (found.provider, found.stale) == ("gb", False)
        assert found.notes == ("em: no credentials found",)
    user.settings(f'[carbon]\nzone = "GB"\n{lacking}')
    assert user.refused(user.forecast).message == "em: no credentials found"


def test_answers_hold_no_more_than_they_need(user: User) -> None:
    user.forecast()
    (path,) = (user.home / ".cache/hpcfrugal/carbon").glob("*.json")
    assert set(json.loads(path.read_text())) == {"schema", "key", "series", "notes", "fetched_at", "expires_at"}
