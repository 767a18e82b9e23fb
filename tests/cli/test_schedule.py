"""What `submit` does with ``schedule``, of which not all is acted on yet."""

from __future__ import annotations

from datetime import datetime

from sandbox import Sandbox

from hpcfrugal.jobspec import job_from_mapping
from hpcfrugal.options import sbatch_options


def test_earliest_is_the_begin_of_sbatch() -> None:
    spec = job_from_mapping({"command": "true", "schedule": {"earliest": "2027-01-01T10:00:00+05:00"}})
    (option,) = [option for option in sbatch_options(spec) if option.startswith("--begin=")]
    begin = datetime.fromisoformat(option.partition("=")[2]).astimezone()
    assert begin == datetime.fromisoformat("2027-01-01T10:00:00+05:00")


def test_what_is_not_acted_on_is_said(box: Sandbox) -> None:
    result = box.run("submit", box.job("true", schedule={"max_delay": "12h", "zone": "FR"}))
    assert result.code == 0
    assert "not acted on yet: schedule.max_delay, schedule.zone" in result.err


def test_a_job_that_wants_a_forecast_is_refused(box: Sandbox) -> None:
    result = box.run("submit", box.job("true", schedule={"require_forecast": True, "max_delay": "1h"}))
    assert result.code == 3
    assert "there is no carbon-intensity forecast to be had yet" in result.err
    assert list(box.spool.glob("*/*")) == []
