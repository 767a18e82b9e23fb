"""Intensities in the ledger: an index of the spool's files like everything else; and the grams that come of them."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from fake_spool import SECOND, START_NS, FakeSpool, iso
from planned_runs import FETCHED_NS, HOUR, kwh, plan, segment, tell

from hpcfrugal.core.errors import DataError
from hpcfrugal.core.pue import MonthlyPue, month_start_ns
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.footprints import times_used
from hpcfrugal.ledger.plans import plan_of
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.savings import savings
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sums import EnergySums
from hpcfrugal.ledger.sync import rebuild, sync, sync_intensities
from hpcfrugal.ledger.total_rows import CarbonPlace
from hpcfrugal.spool.intensity import IntensitySource, intensity_files

MINUTE = 60


def only_job(spool: FakeSpool) -> JobRow:
    with open_ledger(spool.ledger) as connection:
        (job,) = find_jobs(connection, JobFilter())
    return job


def sums(spool: FakeSpool) -> EnergySums:
    return only_job(spool).totals.sums


def ug(grams: Fraction | float) -> int:
    """Micrograms, rounded for each component of a job: 10 of 11 parts of its energy are its CPU's."""
    return round(Fraction(grams) * 10**6 * 10 / 11) + round(Fraction(grams) * 10**6 / 11)


def test_a_rebuilt_ledger_has_the_same_intensities(spool: FakeSpool) -> None:
    spool.whole_run(carbon={"zone": "FR", "pue": 1.2}, plan=plan())
    tell(spool, 50.0, -100, 100)
    sync(spool.root, spool.ledger)
    tell(spool, 60.0, 0, 50, issued_ns=START_NS)
    tell(spool, None, 100, 200, settled=False)
    assert sync_intensities(spool.root, spool.ledger) == 1
    assert sync_intensities(spool.root, spool.ledger) == 0
    grown = dump(spool.ledger)
    assert sum(line.startswith("intensity ") for line in grown) == 4
    assert sync(spool.root, spool.ledger).files_read == 0
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == grown
    assert check_ledger(spool.root, spool.ledger).differences == ()


def test_a_damaged_file_does_not_count_and_is_named(spool: FakeSpool) -> None:
    tell(spool, 50.0, 0, 100)
    sync(spool.root, spool.ledger)
    (path,) = intensity_files(spool.root)
    path.write_text("{")
    assert sync(spool.root, spool.ledger).problem_files == 1
    found = check_ledger(spool.root, spool.ledger)
    assert found.problems == (f"intensity/2026-11/{path.name}: not valid JSON",)
    assert found.differences == ()
    assert not any(line.startswith("intensity ") for line in dump(spool.ledger))


def test_intensities_that_vanish_stay_and_are_not_lost_by_a_rebuild(spool: FakeSpool) -> None:
    tell(spool, 50.0, 0, 100)
    sync(spool.root, spool.ledger)
    (path,) = intensity_files(spool.root)
    path.unlink()
    name = f"intensity/2026-11/{path.name}"
    assert sync(spool.root, spool.ledger).vanished_files == (name,)
    assert check_ledger(spool.root, spool.ledger).differences == ()
    with pytest.raises(DataError, match="would be lost"):
        rebuild(spool.root, spool.ledger)
    rebuild(spool.root, spool.ledger, drop_vanished=True)
    assert not any("intensity" in line for line in dump(spool.ledger))


def test_files_that_are_not_read_yet_are_not_a_difference(spool: FakeSpool) -> None:
    spool.whole_run(carbon={"zone": "FR", "pue": 1.2})
    sync(spool.root, spool.ledger)
    tell(spool, 50.0, 0, 100)
    assert check_ledger(spool.root, spool.ledger).differences == ()


# Footprint ----------------------------------------------------------------------------------------------------------


def test_a_minute_at_110_watts_by_hand(spool: FakeSpool) -> None:
    spool.whole_run(carbon={"zone": "FR", "pue": 1.2})
    tell(spool, 50.0, -HOUR, 30)
    tell(spool, 150.0, 30, HOUR)
    sync(spool.root, spool.ledger)
    job = only_job(spool)
    assert job.totals.place == CarbonPlace("FR", "run", 1.2, "run", "energy-charts")
    assert job.totals.sums.co2e_ug == ug(kwh(6600) * 100 * Fraction(6, 5))
    assert job.totals.sums.intensity_g_per_kwh == 100
    assert {part.component: part.sums.co2e_ug for part in job.energy} == {"cpu": 200_000, "dram": 20_000}


def test_revised_figures_change_the_grams_at_the_next_sync(spool: FakeSpool) -> None:
    spool.whole_run(carbon={"zone": "FR", "pue": None})
    tell(spool, 50.0, -HOUR, HOUR, settled=False)
    sync(spool.root, spool.ledger)
    first = sums(spool)
    assert (first.co2e_ug, first.open_uj) == (ug(kwh(6600) * 50), 6_600_000_000)
    tell(spool, 70.0, -HOUR, HOUR)
    sync(spool.root, spool.ledger)
    second = sums(spool)
    assert (second.co2e_ug, second.open_uj) == (ug(kwh(6600) * 70), 0)


def test_forecast_and_yearly_mean_are_used_and_marked(spool: FakeSpool) -> None:
    spool.whole_run(plan=plan(levels=(400.0, 400.0, 400.0)))
    sync(spool.root, spool.ledger)
    assert list(sums(spool).by_source_uj) == ["forecast"]
    assert sums(spool).co2e_ug == ug(kwh(6600) * 400)
    tell(spool, 100.0, -HOUR, 15)
    sync(spool.root, spool.ledger)
    assert sums(spool).by_source_uj == {"actual": 1_650_000_000, "forecast": 4_950_000_000}
    assert sums(spool).co2e_ug == ug(kwh(6600) * (25 + 300))


def test_estimates_of_the_provider_are_not_actual_figures(spool: FakeSpool) -> None:
    spool.whole_run(plan=plan(levels=(400.0, 400.0, 400.0)))
    tell(spool, 100.0, -HOUR, 15)
    tell(spool, 200.0, 15, 30, estimated_by="TIME_SLICER_AVERAGE")
    sync(spool.root, spool.ledger)
    assert sums(spool).by_source_uj == {
        "actual": 1_650_000_000, "estimated": 1_650_000_000, "forecast": 3_300_000_000,
    }  # fmt: skip
    assert sums(spool).co2e_ug == ug(kwh(1650) * (100 + 200 + 400 * 2))
    assert check_ledger(spool.root, spool.ledger).differences == ()


def test_a_provider_without_estimates_comes_first(spool: FakeSpool) -> None:
    spool.whole_run(carbon={"zone": "FR"})
    tell(spool, 10.0, 0, 60, IntensitySource("FR", "average", "a"), estimated_by="mean of Europe")
    tell(spool, 90.0, 0, 30, IntensitySource("FR", "average", "b"))
    sync(spool.root, spool.ledger)
    assert only_job(spool).totals.place.provider == "b"


def test_a_country_has_its_yearly_mean_and_an_unknown_zone_has_nothing(spool: FakeSpool) -> None:
    spool.whole_run()
    sync(spool.root, spool.ledger, defaults=Defaults("FR", 1.5))
    assert only_job(spool).totals.place == CarbonPlace("FR", "settings", 1.5, "settings")
    assert (list(sums(spool).by_source_uj), sums(spool).intensity_coverage) == (["yearly-mean"], 1)
    for zone in ("XX", None):
        sync(spool.root, spool.ledger, defaults=Defaults(zone))
        assert only_job(spool).totals.place == CarbonPlace(zone, "settings" if zone else None, None, None)
        assert (sums(spool).co2e_ug, sums(spool).intensity_coverage) == (None, 0)
    # Without settings, those of the last sync hold.
    sync(spool.root, spool.ledger, defaults=Defaults("FR", 1.5))
    before = sums(spool)
    sync(spool.root, spool.ledger)
    assert sums(spool) == before
    assert check_ledger(spool.root, spool.ledger).differences == ()


def test_a_job_over_the_end_of_a_month_has_the_pue_of_each(spool: FakeSpool) -> None:
    december = (month_start_ns("2026-12") - START_NS) // SECOND
    segment(spool.run(), 0, december - 20)
    tell(spool, 50.0, december - HOUR, december + HOUR)
    by_month = MonthlyPue((("2026-11", 1.25), ("2026-12", 1.5)))
    sync(spool.root, spool.ledger, defaults=Defaults("FR", by_month))
    job = only_job(spool)
    assert job.totals.place == CarbonPlace("FR", "settings", None, "settings", "energy-charts")
    grid = kwh(110) * 50
    by_day = [grid * 20 * Fraction(5, 4), grid * 40 * Fraction(3, 2)]
    assert sums(spool).co2e_ug == pytest.approx(float(sum(by_day)) * 1e6, abs=2)
    assert {row.day: row.sums.co2e_ug for row in job.energy if row.component == "cpu"} == {
        day: pytest.approx(float(grams) * 1e6 * 10 / 11, abs=1)
        for day, grams in zip((20787, 20788), by_day, strict=True)
    }
    before = sums(spool)
    sync(spool.root, spool.ledger)
    assert sums(spool) == before, "without settings, those of the last sync hold"
    sync(spool.root, spool.ledger, defaults=Defaults("FR", MonthlyPue((("2026-11", 1.25), ("2027-01", 1.5)))))
    assert only_job(spool).totals.place == CarbonPlace("FR", "settings", 1.25, "settings", "energy-charts")
    assert sums(spool).co2e_ug == pytest.approx(float(grid * 60) * 1.25e6, abs=2)
    assert check_ledger(spool.root, spool.ledger).differences == ()


def test_a_pending_saving_has_the_pue_of_its_run_and_one_by_month_has_none(spool: FakeSpool) -> None:
    spool.whole_run(carbon={"zone": "FR"}, plan=plan())
    sync(spool.root, spool.ledger)
    by_month = MonthlyPue((("2026-11", 1.25),))
    with open_ledger(spool.ledger) as connection:
        jobs = find_jobs(connection, JobFilter())
        found = [savings(connection, jobs, Defaults("FR", pue))[0] for pue in (1.5, by_month)]
    assert [(one.status, one.pue) for one in found] == [("pending", 1.5), ("pending", None)]


def test_marginal_forecasts_and_those_of_other_zones_do_not_stand_in(spool: FakeSpool) -> None:
    spool.whole_run(plan=plan(signal="marginal", zone="XX"))
    sync(spool.root, spool.ledger)
    assert sums(spool).co2e_ug is None


def test_values_added_by_a_model_are_not_a_forecast(spool: FakeSpool) -> None:
    told = plan()["forecast"] | {"assumed_from": iso(15), "assumed_by": "same-time-yesterday"}
    spool.whole_run(plan=plan(forecast=told))
    sync(spool.root, spool.ledger)
    assert sums(spool).by_source_uj == {"forecast": 1_650_000_000, "yearly-mean": 4_950_000_000}


def test_actuals_come_from_a_single_provider(spool: FakeSpool) -> None:
    spool.whole_run(carbon={"zone": "FR"})
    tell(spool, 10.0, 0, 20, IntensitySource("FR", "average", "a"))
    tell(spool, 90.0, 0, 40, IntensitySource("FR", "average", "b"))
    tell(spool, 1.0, 0, 60, IntensitySource("FR", "marginal", "b"))
    sync(spool.root, spool.ledger)
    assert only_job(spool).totals.place.provider == "b"
    assert sums(spool).by_source_uj["actual"] == 4_400_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"forecast": "x"}, {"forecast": {"g_per_kwh": [1]}}, {"counterfactual": [1]}, {"expected": {"saving": "x"}},
        {"zone": 7}, {"signal": 3}, {"provider": {}}, {"counterfactual": {"start_at": "then"}},
    ],
)  # fmt: skip
def test_a_plan_that_was_tampered_with_fails_nothing(spool: FakeSpool, changes: dict[str, Any]) -> None:
    spool.whole_run(plan=plan(**changes), carbon={"zone": 3, "pue": 0.5})
    sync(spool.root, spool.ledger, defaults=Defaults("FR"))
    with open_ledger(spool.ledger) as connection:
        (one,) = savings(connection, find_jobs(connection, JobFilter()), Defaults())
    assert one.saving is None
    found = check_ledger(spool.root, spool.ledger)
    assert any("carbon.pue: not a number from 1" in problem for problem in found.problems)
    assert found.differences == ()


def test_a_plan_is_kept_with_what_is_needed_of_it(spool: FakeSpool) -> None:
    spool.whole_run(plan=plan(notes=["x" * 1000]))
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        ((column,),) = connection.execute("SELECT plan FROM runs").fetchall()
    assert "notes" not in json.loads(column)
    kept = plan_of(column)
    assert kept is not None
    assert kept.on_forecast
    assert (kept.counterfactual_ns, kept.expected_saving) == (START_NS - HOUR * SECOND, 0.25)


def test_what_is_to_be_asked_for(spool: FakeSpool) -> None:
    spool.whole_run("17", carbon={"zone": "DE"})
    spool.whole_run("18", plan=plan(signal="marginal"))
    spool.whole_run("19")
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        found = list(times_used(connection, Defaults(), 0))
        assert list(times_used(connection, Defaults("XX"), START_NS + 61 * SECOND)) == []
    own = (START_NS, START_NS + 60 * SECOND)
    assert [(one.zone, one.signal, one.provider) for one in found] == [
        ("DE", "average", None), ("FR", "average", None), ("FR", "marginal", "energy-charts"),
        ("FR", "marginal", "energy-charts"),
    ]  # fmt: skip
    assert [(one.start_ns, one.end_ns) for one in found[:3]] == [own] * 3
    assert found[3].start_ns <= START_NS - HOUR * SECOND
    assert found[3].end_ns >= START_NS - HOUR * SECOND + 60 * SECOND


def test_an_intensity_that_is_settled_is_not_asked_for_again(spool: FakeSpool) -> None:
    spool.whole_run("17", carbon={"zone": "FR"})

    def asked() -> list[tuple[int, int]]:
        sync(spool.root, spool.ledger)
        with open_ledger(spool.ledger) as connection:
            return [(one.start_ns, one.end_ns) for one in times_used(connection, Defaults(), 0)]

    whole = [(START_NS, START_NS + 60 * SECOND)]
    assert asked() == whole
    tell(spool, 100.0, 0, 60, settled=False)
    assert asked() == whole
    tell(spool, 100.0, 0, 30, fetched_ns=FETCHED_NS + SECOND)
    assert asked() == whole
    tell(spool, 100.0, 30, 60, fetched_ns=FETCHED_NS + SECOND)
    assert asked() == []
