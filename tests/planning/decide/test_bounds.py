"""Between which moments a job may start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hpcfrugal.core.errors import InputError
from hpcfrugal.job.schedule import Schedule
from hpcfrugal.planning.decide.bounds import bounds_of

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def schedule(**keys: object) -> Schedule:
    return Schedule(**keys)


def test_max_delay_bounds_the_start() -> None:
    bounds = bounds_of(schedule(max_delay="12h"), 2 * HOUR, NOW, where="job.yaml")
    assert (bounds.earliest, bounds.latest_start, bounds.deadline) == (NOW, NOW + 12 * HOUR, NOW + 14 * HOUR)
    bounds = bounds_of(schedule(max_delay="12h"), None, NOW, where="job.yaml")
    assert (bounds.latest_start, bounds.deadline, bounds.notes) == (NOW + 12 * HOUR, None, ())


def test_deadline_bounds_the_finish() -> None:
    wanted = schedule(deadline=(NOW + 10 * HOUR).isoformat())
    bounds = bounds_of(wanted, 3 * HOUR, NOW, where="job.yaml")
    assert (bounds.latest_start, bounds.deadline, bounds.notes) == (NOW + 7 * HOUR, NOW + 10 * HOUR, ())
    bounds = bounds_of(wanted, None, NOW, where="job.yaml")
    assert (bounds.latest_start, bounds.deadline) == (NOW, NOW + 10 * HOUR)
    assert "the time limit is unknown" in bounds.notes[0]
    bounds = bounds_of(wanted, 11 * HOUR, NOW, where="job.yaml")
    assert (bounds.latest_start, bounds.notes) == (
        NOW,
        ("with its full time limit it ends 01:00:00 after its deadline even if it starts now",),
    )
    assert bounds.safe_start == NOW - HOUR


def test_a_deadline_in_a_summer_time_zone_is_the_same_instant() -> None:
    wanted = schedule(deadline="2026-11-21T18:00+02:00")
    assert bounds_of(wanted, HOUR, NOW, where="job.yaml").deadline == datetime(2026, 11, 21, 16, 0, tzinfo=UTC)


def test_earliest_is_never_in_the_past_and_goes_before_the_delay() -> None:
    later = (NOW + 5 * HOUR).isoformat()
    bounds = bounds_of(schedule(max_delay="1h", earliest=later), HOUR, NOW, where="job.yaml")
    assert bounds.earliest == bounds.latest_start == NOW + 5 * HOUR
    assert len(bounds.notes) == 1
    past = (NOW - 5 * HOUR).isoformat()
    assert bounds_of(schedule(max_delay="1h", earliest=past), HOUR, NOW, where="job.yaml").earliest == NOW


def test_a_passed_deadline_is_refused() -> None:
    with pytest.raises(InputError, match=r"job.yaml: schedule.deadline: .* has passed"):
        bounds_of(schedule(deadline=NOW.isoformat()), HOUR, NOW, where="job.yaml")


def test_nothing_bounds_a_budget() -> None:
    bounds = bounds_of(schedule(budget_g=5), HOUR, NOW, where="job.yaml")
    assert (bounds.latest_start, bounds.deadline) == (None, None)


def test_the_script_s_own_deadline_bounds_the_start_too() -> None:
    by = NOW + 5 * HOUR
    bounds = bounds_of(schedule(max_delay="12h"), 2 * HOUR, NOW, where="job.yaml", slurm_deadline=by)
    assert (bounds.latest_start, bounds.safe_start, bounds.deadline) == (NOW + 3 * HOUR, NOW + 3 * HOUR, by)
    bounds = bounds_of(schedule(max_delay="1h"), 2 * HOUR, NOW, where="job.yaml", slurm_deadline=by)
    assert (bounds.latest_start, bounds.deadline) == (NOW + HOUR, by)
    bounds = bounds_of(schedule(max_delay="12h"), None, NOW, where="job.yaml", slurm_deadline=by)
    assert bounds.latest_start == NOW
    assert "time limit is unknown" in bounds.notes[0]
    earlier = schedule(deadline=(NOW + 4 * HOUR).isoformat())
    bounds = bounds_of(earlier, HOUR, NOW, where="job.yaml", slurm_deadline=by)
    assert bounds.deadline == NOW + 4 * HOUR
    with pytest.raises(InputError, match="#SBATCH --deadline"):
        bounds_of(schedule(max_delay="1h"), HOUR, NOW, where="job.yaml", slurm_deadline=NOW - HOUR)
