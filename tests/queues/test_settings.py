"""Tables of queues: every key, and every mistake at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import hpcfrugal.settings.config
from hpcfrugal.core.errors import InputError
from hpcfrugal.queues.settings import read_queues, the_queue
from hpcfrugal.settings.config import Config, load_config


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hpcfrugal.settings.config, "SITE_DIR", tmp_path)
    return tmp_path


def config(site: Path, text: str) -> Config:
    (site / "config.toml").write_text(text)
    return load_config({"HOME": str(site / "nobody")})


def test_all_keys_of_a_queue(site: Path) -> None:
    found = read_queues(
        config(
            site,
            """
            [queues.green]
            partition = "batch"
            qos = "green"
            max_delay = "1d"
            capacity = { "08:00" = 10, "20:30" = 40 }
            unit = "cpus"
            zone = "FR"
            signal = "marginal"
            min_saving = "10 %"
            hysteresis = 0
            step = "10m"
            [queues.night]
            max_delay = "12h"
            capacity = 4
            """,
        ).tables("queues")
    )
    green = found["green"]
    assert (green.partition, green.qos, green.unit, green.zone, green.signal) == (
        "batch",
        "green",
        "cpus",
        "FR",
        "marginal",
    )
    assert (green.max_delay, green.step) == (timedelta(days=1), timedelta(minutes=10))
    assert (green.min_saving, green.hysteresis) == (0.1, 0.0)
    at = {clock: green.capacity_at(clock) for clock in (0, 479, 480, 1229, 1230, 1439, 1440)}
    assert at == {0: 40, 479: 40, 480: 10, 1229: 10, 1230: 40, 1439: 40, 1440: 40}
    assert found["night"].capacity_at(1000) == 4


def test_all_mistakes_at_once(site: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_queues(
            config(
                site,
                """
                [queues.green]
                capcity = 3
                unit = "racks"
                max_delay = "-1h"
                min_saving = "200 %"
                step = "1d"
                [queues."a b"]
                max_delay = "1h"
                capacity = { "25:00" = 1 }
                qos = ""
                hysteresis = nan
                """,
            ).tables("queues")
        )
    text = caught.value.message
    for said in (
        "queues.green.capcity: is not a setting of a queue",
        "did you mean capacity?",
        "queues.green.unit: needs one of nodes, cpus",
        "queues.green.max_delay: ",
        "queues.green.min_saving: needs a share",
        "queues.green.step: needs a time from 1s to 1h",
        "queues.green.capacity: is missing",
        "queues.a b: needs a name of up to 64 letters",
        "queues.a b.capacity: '25:00' is not a time of day",
        "queues.a b.qos: needs a text on one line",
        "queues.a b.hysteresis: needs a share",
    ):
        assert said in text
    assert caught.value.exit_code == 2


def test_a_queue_that_does_not_exist(site: Path) -> None:
    settings = config(site, '[queues.green]\nmax_delay = "1h"\ncapacity = 1\n')
    assert the_queue(settings, "green", where="x").name == "green"
    with pytest.raises(InputError, match=r"job.yaml: schedule.queue: there is no queue 'gren'.*did you mean green"):
        the_queue(settings, "gren", where="job.yaml: schedule.queue")
