"""Intensities in the ledger: an index of the spool's files like everything else; and the grams that come of them."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from fake_spool import SECOND, START_NS, FakeRun, FakeSpool, iso

from hpcfrugal.accounting.footprint import UJ_PER_KWH
from hpcfrugal.errors import DataError
from hpcfrugal.ledger.footprints import Defaults, JobFootprint, footprints, times_used
from hpcfrugal.ledger.plans import plan_of
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.savings import JobSavings, savings, totals
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import check, dump, rebuild, sync, sync_intensities
from hpcfrugal.spool.intensity import IntensitySource, Known, intensity_files, keep_intensities

MINUTE = 60
HOUR = 3600
FR = IntensitySource("FR", "average", "energy-charts")


def tell(
    spool: FakeSpool, level: float | None, start_s: float, end_s: float, source: IntensitySource = FR, **more: Any
) -> None:
    """Keep one level from second to second after START."""
    told: dict[str, Any] = {"fetched_ns": START_NS, "issued_ns": None, "settled": True, **more}
    interval = Known(START_NS + round(start_s * SECOND), START_NS + round(end_s * SECOND), level, **told)
    keep_intensities(spool.root, source, [interval])


def plan(start_s: float = -HOUR, levels: tuple[float | None, ...] = (400.0,) * 5, **changes: Any) -> dict[str, Any]:
    """A plan of which the counterfactual starts at ``start_s``, on hours of a forecast from START - 2 h on."""
    forecast = {
        "zone": "FR", "signal": "average", "kind": "forecast", "issued_at": iso(-3 * HOUR), "provider": "energy-charts",
        "start": iso(-2 * HOUR), "step_s": HOUR, "g_per_kwh": list(levels),
    }  # fmt: skip
    return {
        "schema": 1, "policy": "low-carbon", "action": "wait", "zone": "FR", "signal": "average",
        "provider": "energy-charts", "issued_at": iso(-3 * HOUR), "start_at": iso(0),
        "counterfactual": {"start_at": iso(start_s), "wait_s": 0}, "expected": {"saving": 0.25}, "forecast": forecast,
        **changes,
    }  # fmt: skip


def segment(run: FakeRun, restart: int, at_s: float, length_s: float = 60, watts: float = 110, **slurm: Any) -> None:
    """An attempt on a node of its own, ``at_s`` after START."""
    shift = round(at_s * SECOND)
    lines = [run.header(restart=restart), *run.records([watts - 10, 10], length_s)]
    run.samples([{**line, "wall_ns": line["wall_ns"] + shift} for line in lines], restart=restart)
    run.end(start_s=at_s, end_s=at_s + length_s, restart=restart)
    run.slurm(start_s=at_s, end_s=at_s + length_s, restart=restart, **slurm)


def footprint(spool: FakeSpool, zone: str | None = None, pue: float | None = None) -> JobFootprint:
    with open_ledger(spool.ledger) as connection:
        (found,) = footprints(connection, find_jobs(connection, JobFilter()), Defaults(zone, pue)).values()
    return found


def saved(spool: FakeSpool) -> list[JobSavings]:
    with open_ledger(spool.ledger) as connection:
        return savings(connection, find_jobs(connection, JobFilter()), Defaults())


def kwh(energy_j: float) -> Fraction:
    return Fraction(round(energy_j * 1e6), UJ_PER_KWH)


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
    assert check(spool.root, spool.ledger).differences == ()


def test_a_damaged_file_does_not_count_and_is_named(spool: FakeSpool) -> None:
    tell(spool, 50.0, 0, 100)
    sync(spool.root, spool.ledger)
    (path,) = intensity_files(spool.root)
    path.write_text("{")
    assert sync(spool.root, spool.ledger).problem_files == 1
    found = check(spool.root, spool.ledger)
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
    assert check(spool.root, spool.ledger).differences == ()
    with pytest.raises(DataError, match="would be lost"):
        rebuild(spool.root, spool.ledger)
    rebuild(spool.root, spool.ledger, drop_vanished=True)
    assert not any("intensity" in line for line in dump(spool.ledger))


def test_what_is_not_read_yet_is_no_difference(spool: FakeSpool) -> None:
    sync(spool.root, spool.ledger)
    tell(spool, 50.0, 0, 100)
    assert check(spool.root, spool.ledger).differences == ()


# Footprint ----------------------------------------------------------------------------------------------------------


def test_a_minute_at_110_watts_by_hand(spool: FakeSpool) -> None:
    spool.whole_run(carbon={"zone": "FR", "pue": 1.2})
    tell(spool, 50.0, -HOUR, 30)
    tell(spool, 150.0, 30, HOUR)
    sync(spool.root, spool.ledger)
    found = footprint(spool)
    assert (found.zone, found.zone_source, found.pue, found.pue_source) == ("FR", "run", 1.2, "run")
    assert found.provider == "energy-charts"
    assert found.total.operational_g == kwh(6600) * 100 * Fraction(6, 5)
    assert found.total.intensity_g_per_kwh == 100
    assert {component: part.total.operational_g for component in ("cpu", "dram") for part in [found.of(component)]} == {
        "cpu": kwh(6000) * 120, "dram": kwh(600) * 120,
    }  # fmt: skip


def test_revised_figures_change_the_grams_at_the_next_sync(spool: FakeSpool) -> None:
    spool.whole_run(carbon={"zone": "FR", "pue": None})
    tell(spool, 50.0, -HOUR, HOUR, settled=False)
    sync(spool.root, spool.ledger)
    first = footprint(spool).total
    assert (first.operational_g, first.open_uj) == (kwh(6600) * 50, 6_600_000_000)
    tell(spool, 70.0, -HOUR, HOUR)
    sync(spool.root, spool.ledger)
    second = footprint(spool).total
    assert (second.operational_g, second.open_uj) == (kwh(6600) * 70, 0)


def test_forecast_and_yearly_mean_stand_in_and_are_told_apart(spool: FakeSpool) -> None:
    spool.whole_run(plan=plan(levels=(400.0, 400.0, 400.0)))
    sync(spool.root, spool.ledger)
    assert footprint(spool).total.sources == ["forecast"]
    assert footprint(spool).total.operational_g == kwh(6600) * 400
    tell(spool, 100.0, -HOUR, 15)
    sync(spool.root, spool.ledger)
    assert footprint(spool).total.shares == {"actual": Fraction(1, 4), "forecast": Fraction(3, 4)}
    assert footprint(spool).total.operational_g == kwh(6600) * (25 + 300)


def test_a_country_has_its_yearly_mean_and_an_unknown_zone_has_nothing(spool: FakeSpool) -> None:
    spool.whole_run()
    sync(spool.root, spool.ledger)
    found = footprint(spool, zone="FR", pue=1.5)
    assert (found.zone_source, found.pue_source, found.total.sources) == ("settings", "settings", ["yearly-mean"])
    assert found.total.coverage == 1
    nowhere = footprint(spool, zone="XX")
    assert nowhere.total.operational_g is None
    assert nowhere.total.coverage == 0
    assert footprint(spool).zone is None
    assert footprint(spool).parts == {}


def test_marginal_forecasts_and_those_of_other_zones_do_not_stand_in(spool: FakeSpool) -> None:
    spool.whole_run(plan=plan(signal="marginal", zone="XX"))
    sync(spool.root, spool.ledger)
    assert footprint(spool).total.operational_g is None


def test_actual_figures_are_those_of_one_provider(spool: FakeSpool) -> None:
    spool.whole_run(carbon={"zone": "FR"})
    tell(spool, 10.0, 0, 20, IntensitySource("FR", "average", "a"))
    tell(spool, 90.0, 0, 40, IntensitySource("FR", "average", "b"))
    tell(spool, 1.0, 0, 60, IntensitySource("FR", "marginal", "b"))
    sync(spool.root, spool.ledger)
    found = footprint(spool)
    assert found.provider == "b"
    assert found.total.shares["actual"] == Fraction(2, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"forecast": "x"}, {"forecast": {"g_per_kwh": [1]}}, {"counterfactual": [1]}, {"expected": {"saving": "x"}},
        {"zone": 7}, {"signal": 3}, {"provider": {}}, {"counterfactual": {"start_at": "then"}},
    ],
)  # fmt: skip
def test_a_plan_that_was_tampered_with_fails_nothing(spool: FakeSpool, changes: dict[str, Any]) -> None:
    spool.whole_run(plan=plan(**changes), carbon={"zone": 3, "pue": 0.5})
    sync(spool.root, spool.ledger)
    footprint(spool, zone="FR")
    (one,) = saved(spool)
    assert one.saving is None
    found = check(spool.root, spool.ledger)
    assert any("carbon: pue: less than 1" in problem for problem in found.problems)
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


# Savings ------------------------------------------------------------------------------------------------------------


def test_what_waiting_saved_by_hand(spool: FakeSpool) -> None:
    spool.whole_run(plan=plan(levels=(0, 500.0, 250.0)), carbon={"zone": "FR", "pue": 2})
    tell(spool, 400.0, -HOUR, -HOUR + 60)
    tell(spool, 100.0, 0, 60)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.saving is not None
    assert one.forecast is not None
    assert (one.standing, one.quality, one.settled, one.pue) == ("known", "measured", True, 2.0)
    assert one.saving.actual_g == kwh(6600) * 200
    assert one.saving.counterfactual_g == kwh(6600) * 800
    assert one.forecast.saved_g == kwh(6600) * 2 * 250
    assert one.error is not None
    assert one.error.mape == pytest.approx((100 / 400 + 150 / 100) / 2)


def test_a_loss_is_in_the_sum(spool: FakeSpool) -> None:
    spool.whole_run("17", plan=plan())
    segment(spool.run("18", plan=plan()), 0, HOUR)
    tell(spool, 200.0, -HOUR, HOUR)
    tell(spool, 300.0, HOUR, 2 * HOUR)
    sync(spool.root, spool.ledger)
    found = saved(spool)
    # The second run's sample file is of job 17 too, since only its run tells them apart.
    (total,) = totals(found).values()
    assert total.jobs == 2
    assert total.losses == 1
    assert total.counterfactual_g - total.actual_g == -kwh(6600) * 100
    assert total.lost_g == kwh(6600) * 100


def test_without_all_actuals_nothing_is_said_to_be_saved(spool: FakeSpool) -> None:
    spool.whole_run("17", plan=plan())
    tell(spool, 100.0, 0, 60)
    tell(spool, 100.0, -HOUR, -HOUR + 59)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert (one.standing, one.saving) == ("pending", None)
    assert one.why is not None
    assert "all of these times is not known from energy-charts yet" in one.why
    assert totals([one]) == {}


def test_figures_of_another_provider_or_signal_prove_nothing(spool: FakeSpool) -> None:
    spool.whole_run("17", plan=plan())
    tell(spool, 100.0, -2 * HOUR, HOUR, IntensitySource("FR", "average", "other"))
    tell(spool, 100.0, -2 * HOUR, HOUR, IntensitySource("FR", "marginal", "energy-charts"))
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.standing == "pending"


def test_segments_at_their_own_times_against_one_go(spool: FakeSpool) -> None:
    run = spool.run(plan=plan())
    for restart, at_s in enumerate((0, 1000, 2000)):
        last = restart == 2
        segment(run, restart, at_s, state="COMPLETED" if last else "REQUEUED")
    tell(spool, 300.0, -HOUR, -HOUR + 90)
    tell(spool, 600.0, -HOUR + 90, 0)
    for at_s in (0, 1000, 2000):
        tell(spool, 100.0, at_s, at_s + 60)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.saving is not None
    assert one.saving.actual_g == 3 * kwh(6600) * 100
    assert one.saving.counterfactual_g == kwh(6600) * (300 + 450 + 600)
    assert one.counterfactual_end_ns == START_NS + (-HOUR + 180) * SECOND


def test_a_job_between_two_segments_is_not_over(spool: FakeSpool) -> None:
    segment(spool.run("17", plan=plan()), 0, 0, state="REQUEUED")
    sync(spool.root, spool.ledger)
    assert [one.standing for one in saved(spool)] == ["unfinished"]


def test_who_is_left_out_and_why(spool: FakeSpool) -> None:
    spool.whole_run("17")
    spool.whole_run("18", plan=plan(forecast=None, provider=None))
    spool.run("19", plan=plan()).slurm("CANCELLED", start_s=None, job_id="19")
    spool.run("20", plan=plan())
    unsampled = spool.run("21", plan=plan())
    unsampled.slurm(job_id="21", nodes=())
    sync(spool.root, spool.ledger)
    assert {one.first.job_id: one.standing for one in saved(spool)} == {
        "17": "asap", "18": "no-forecast", "19": "not-run", "20": "unfinished", "21": "pending",
    }  # fmt: skip
    assert [one.why for one in saved(spool) if one.first.job_id == "21"] == ["its energy is not known"]


def test_a_job_that_started_when_it_would_have_saved_exactly_nothing(spool: FakeSpool) -> None:
    spool.whole_run(plan=plan(start_s=0))
    for second in range(-10, 70):
        tell(spool, 17.3 * (second + 20), second, second + 1)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.saving is not None
    assert one.saving.saved_g == 0
