"""What the intensity was, fetched into the spool: asked once, again while it may be revised, and never in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_grid import Grid, Reply, Request

from hpcfrugal.carbon.history import Gathered, gather
from hpcfrugal.carbon.use_period import UsePeriod
from hpcfrugal.settings.config import load_config
from hpcfrugal.spool.intensity import IntensitySource, KnownIntensity, intensity_files, kept_intensities

HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
EUROPE = IntensitySource("FR", "average", "energy-charts")


def ns(at: datetime) -> int:
    return int(at.timestamp()) * 10**9


class Site:
    """A site with a spool, a clock that can be set and a provider on loopback."""

    def __init__(self, home: Path, grid: Grid, settings: str = "") -> None:
        self.home, self.grid, self.now = home, grid, NOW
        self.spool = home / "spool"
        self.level = 50.0
        self.step = timedelta(minutes=15)
        grid.answer = self.answer
        self.settings(f'[forecasts.energy-charts]\nurl = "{grid.url}"\nzone = "FR"\n{settings}')

    def settings(self, text: str) -> None:
        path = self.home / ".config/hpcfrugal/config.toml"
        path.write_text(text)

    def answer(self, request: Request) -> Reply:
        """Energy-Charts' form: what was, up to now."""
        first, last = (datetime.fromisoformat(request.query[key]) for key in ("start", "end"))
        last = min(last, self.now)
        times = [first + index * self.step for index in range(max(0, int((last - first) / self.step)))]
        seconds = [int(time.timestamp()) for time in times]
        levels: list[float | None] = [self.level] * len(times)
        return Reply({"unix_seconds": seconds, "co2eq": levels, "co2eq_forecast": [None] * len(times)})

    def gather(self, *used: UsePeriod) -> Gathered:
        config = load_config()
        return gather(config, self.spool, used, clock=lambda: self.now)

    def kept(self, source: IntensitySource = EUROPE) -> list[KnownIntensity]:
        return kept_intensities(self.spool, source, ns(NOW - 40 * 24 * HOUR), ns(NOW + 40 * 24 * HOUR))


def used(start: datetime, end: datetime, zone: str = "FR", provider: str | None = None) -> UsePeriod:
    return UsePeriod(zone, "average", provider, ns(start), ns(end))


@pytest.fixture
def site(home: Path, grid: Grid) -> Site:
    return Site(home, grid)


def test_all_jobs_of_a_zone_and_time_are_one_request(site: Site) -> None:
    jobs = [used(NOW - 5 * HOUR + n * timedelta(minutes=7), NOW - 4 * HOUR) for n in range(8)]
    found = site.gather(*jobs, used(NOW - 2 * HOUR, NOW - HOUR))
    assert found == Gathered(1, ())
    assert len(site.grid.requests) == 1
    kept = site.kept()
    assert {one.g_per_kwh for one in kept} == {50.0}
    assert (kept[0].start_ns, kept[-1].end_ns) == (ns(NOW - 5 * HOUR), ns(NOW - HOUR))
    assert not any(one.settled for one in kept)


def test_estimates_are_stored_as_such(site: Site) -> None:
    site.settings(f'[forecasts.energy-charts]\nurl = "{site.grid.url}"\nzone = "SE3"\n')
    site.gather(used(NOW - 2 * HOUR, NOW - HOUR, "SE3"))
    kept = site.kept(IntensitySource("SE3", "average", "energy-charts"))
    assert {one.estimated_by for one in kept} == {"mean of SE"}


@pytest.mark.parametrize(("apart_h", "requests"), [(6, 1), (7, 2)])
def test_jobs_up_to_6_h_apart_are_one_request(site: Site, apart_h: int, requests: int) -> None:
    site.gather(used(NOW - 20 * HOUR, NOW - 19 * HOUR), used(NOW - (19 - apart_h) * HOUR, NOW - (18 - apart_h) * HOUR))
    assert len(site.grid.requests) == requests


def test_what_is_settled_is_not_asked_for_again(site: Site) -> None:
    old = used(NOW - 20 * 24 * HOUR, NOW - 20 * 24 * HOUR + HOUR)
    site.gather(old)
    assert all(one.settled for one in site.kept())
    seen = len(site.grid.requests)
    site.now += 3 * 24 * HOUR
    assert site.gather(old) == Gathered(0, ())
    assert len(site.grid.requests) == seen


def test_a_figure_that_is_revised_is_fetched_again_until_it_has_settled(site: Site) -> None:
    job = used(NOW - 3 * HOUR, NOW - 2 * HOUR)
    site.gather(job)
    site.level, site.now = 60.0, NOW + 24 * HOUR
    assert site.gather(job).changed == 1
    assert {(one.g_per_kwh, one.settled) for one in site.kept()} == {(60.0, False)}
    site.now = NOW + 8 * 24 * HOUR
    site.gather(job)
    assert {(one.g_per_kwh, one.settled) for one in site.kept()} == {(60.0, True)}
    site.level = 70.0
    site.now += 24 * HOUR
    assert site.gather(job) == Gathered(0, ())


def test_a_provider_that_is_down_is_reported_in_one_line_and_tried_again(site: Site) -> None:
    working = site.grid.answer
    site.grid.answer = lambda request: Reply({}, 503)
    jobs = [used(NOW - n * 24 * HOUR, NOW - n * 24 * HOUR + HOUR) for n in range(1, 9)]
    found = site.gather(*jobs)
    (line,) = found.troubles
    assert line.startswith("actual average carbon intensity of FR: energy-charts: ")
    assert line.endswith("; the next sync tries again")
    assert len(site.grid.requests) <= 2
    assert intensity_files(site.spool) == []
    site.grid.answer, site.now = working, NOW + HOUR
    assert site.gather(*jobs).troubles == ()
    assert len({one.start_ns // (24 * 3600 * 10**9) for one in site.kept()}) == 8


@pytest.mark.parametrize("body", [b"<html>", {"unix_seconds": [1], "co2eq": [-5]}, b"{", {"co2eq": [float("nan")]}])
def test_a_wrong_answer_is_refused_and_not_kept(site: Site, body: Any) -> None:
    site.grid.answer = lambda request: Reply(body if isinstance(body, bytes) else json.dumps(body).encode())
    found = site.gather(used(NOW - 3 * HOUR, NOW - 2 * HOUR))
    assert len(found.troubles) == 1
    assert intensity_files(site.spool) == []


def test_a_kept_answer_does_not_settle_by_being_old(site: Site) -> None:
    job = used(NOW - 7 * 24 * HOUR - HOUR, NOW - 7 * 24 * HOUR + timedelta(minutes=20))
    site.gather(job)
    before = {one.settled for one in site.kept()}
    assert before == {True, False}
    site.now += timedelta(minutes=20)
    site.gather(job)
    # The hour has passed its seven days meanwhile, but the answer at hand is from before that.
    assert {one.settled for one in site.kept()} == before


def test_a_provider_without_actuals_is_skipped_for_another(site: Site) -> None:
    found = site.gather(used(NOW - 3 * HOUR, NOW - 2 * HOUR, provider="watttime"))
    assert found.troubles == ()
    assert len(site.kept()) == 4
    assert site.gather(used(NOW - 3 * HOUR, NOW - 2 * HOUR, zone="XX")) == Gathered(0, ())
    assert site.gather() == Gathered(0, ())


def test_a_region_without_actuals_is_noted_once_and_not_requested(site: Site) -> None:
    region = IntensitySource("GB-13", "average", "carbonintensity-gb")
    job = used(NOW - 3 * HOUR, NOW - 2 * HOUR, zone="GB-13", provider="carbonintensity-gb")
    (line,) = site.gather(job).troubles
    assert line.endswith("GB-13: carbonintensity-gb offers forecasts only and is not queried")
    (kept,) = site.kept(region)
    assert (kept.g_per_kwh, kept.settled) == (None, True)
    assert (kept.start_ns, kept.end_ns) == (job.start_ns, job.end_ns)
    later = used(NOW - 2 * HOUR, NOW, zone="GB-13", provider="carbonintensity-gb")
    assert site.gather(job, later) == Gathered(1, ())
    assert site.gather(job, later) == Gathered(0, ())
    assert site.grid.requests == []


def test_unusable_credentials_do_not_affect_other_providers(site: Site) -> None:
    site.settings(
        f'[forecasts.em]\nkind = "electricitymaps"\n[forecasts.energy-charts]\nurl = "{site.grid.url}"\nzone = "FR"\n'
    )
    job = used(NOW - 3 * HOUR, NOW - 2 * HOUR)
    (line,) = site.gather(job).troubles
    assert line == "actual average carbon intensity of FR: em: no credentials found"
    assert len(site.kept()) == 4
    # A plan that was made when there still were credentials: anybody's figures do for the footprint.
    found = site.gather(used(NOW - 5 * HOUR, NOW - 4 * HOUR, provider="em"))
    assert found == Gathered(1, (line,))
    site.grid.answer = lambda request: Reply({}, 503)
    (line,) = site.gather(used(NOW - 9 * HOUR, NOW - 8 * HOUR)).troubles
    assert line.count("em: no credentials found") == 1
    assert "energy-charts: server error" in line


def test_hours_to_come_are_not_asked_for(site: Site) -> None:
    assert site.gather(used(NOW + HOUR, NOW + 2 * HOUR)) == Gathered(0, ())
    site.gather(used(NOW - HOUR, NOW + 24 * HOUR))
    assert max(one.end_ns for one in site.kept()) <= ns(NOW)


def test_a_mistake_in_the_settings_is_a_line(site: Site) -> None:
    site.settings('[forecasts.energy-charts]\nrefresh = "soon"\n')
    (line,) = site.gather(used(NOW - 3 * HOUR, NOW - 2 * HOUR)).troubles
    assert "not requested" in line
    assert "refresh" in line


def test_a_spool_that_cannot_be_written_is_a_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.spool.write_text("no directory")
    (line,) = site.gather(used(NOW - 3 * HOUR, NOW - 2 * HOUR)).troubles
    assert "cannot be stored in the spool" in line


def test_a_damaged_file_is_a_line_and_stays(site: Site) -> None:
    job = used(NOW - 3 * HOUR, NOW - 2 * HOUR)
    site.gather(job)
    (path,) = intensity_files(site.spool)
    path.write_text("{")
    (line,) = site.gather(job).troubles
    assert "ledger check" in line
    assert path.read_text() == "{"


def of_seconds(path: Path, levels: list[float | None], start: datetime) -> None:
    told = {"zone": "XX", "kind": "actual", "start": start.isoformat(), "step_s": 1, "g_per_kwh": levels}
    path.write_text(json.dumps(told))


def test_a_file_may_have_slots_of_seconds_and_be_corrected(site: Site) -> None:
    path = site.home / "own.json"
    site.settings(f'[forecasts.own]\nkind = "file"\nzone = "XX"\npath = "{path}"\n')
    source = IntensitySource("XX", "average", "own")
    start = NOW - timedelta(minutes=10)
    of_seconds(path, [float(n) for n in range(300)], start)
    job = used(start + timedelta(seconds=20), start + timedelta(seconds=40), zone="XX", provider="own")
    assert site.gather(job) == Gathered(1, ())
    kept = {one.start_ns: one for one in site.kept(source)}
    assert kept[ns(start) + 20 * 10**9].g_per_kwh == 20.0
    of_seconds(path, [1.0] * 300, start)
    assert site.gather(job).changed == 1
    assert {one.g_per_kwh for one in site.kept(source)} == {1.0, None}
    # The hour before the file's first figure is a gap, which may still be filled.
    assert not any(one.settled for one in site.kept(source) if one.g_per_kwh is None)


def test_a_gap_that_is_old_is_settled(site: Site) -> None:
    inner: Callable[[Request], Reply] = site.grid.answer

    def holes(request: Request) -> Reply:
        reply = inner(request)
        levels = reply.body["co2eq"]
        reply.body["co2eq"] = [None if index % 4 == 1 else level for index, level in enumerate(levels)]
        return reply

    site.grid.answer = holes
    old = used(NOW - 20 * 24 * HOUR, NOW - 20 * 24 * HOUR + HOUR)
    site.gather(old)
    assert [one.g_per_kwh for one in site.kept()] == [50.0, None, 50.0, 50.0]
    assert all(one.settled for one in site.kept())
    seen = len(site.grid.requests)
    site.now += 3 * 24 * HOUR
    site.gather(old)
    assert len(site.grid.requests) == seen


def test_direct_emissions_are_named_so_and_kept_apart(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of the life cycle that were kept before do not stand in for them."""
    monkeypatch.setenv("ELECTRICITYMAPS_TOKEN", "tok")
    factors = "lifecycle"

    def answer(request: Request) -> Reply:
        first = NOW.replace(minute=0, second=0, microsecond=0) - 6 * HOUR
        hours = [{"datetime": f"{first + at * HOUR:%Y-%m-%dT%H:%M:%SZ}", "carbonIntensity": 50.0} for at in range(6)]
        return Reply({"zone": "FR", "data": hours, "history": hours, "emissionFactorType": factors})

    site.grid.answer = answer
    job = used(NOW - 5 * HOUR, NOW - 4 * HOUR, provider="em")
    table = f'[forecasts.em]\nkind = "electricitymaps"\nurl = "{site.grid.url}"\nzone = "FR"\n'
    site.settings(table)
    assert site.gather(job) == Gathered(1, ())
    factors = "direct"
    site.settings(f'{table}emission_factor_type = "direct"\n')
    direct = IntensitySource("FR", "average", "em (direct emissions)")
    assert site.kept(direct) == []
    assert site.gather(job) == Gathered(1, ())
    assert {one.g_per_kwh for one in site.kept(direct)} == {50.0}
    # a plan names the provider of its forecast by this label
    assert site.gather(used(NOW - 5 * HOUR, NOW - 4 * HOUR, provider="em (direct emissions)")).troubles == ()
