"""What a running job draws, from the ends of its sample files."""

from __future__ import annotations

import sys
from pathlib import Path

FAKES = str(Path(__file__).resolve().parent / "fakes")
if FAKES not in sys.path:
    sys.path.insert(0, FAKES)

from fake_spool import FakeSpool  # noqa: E402

from hpcfrugal.live import read_draw  # noqa: E402


def test_the_zeros_of_the_first_record_are_not_energy(tmp_path: Path) -> None:
    run = FakeSpool(tmp_path).run("17")
    lines = run.records([100, 10], 60)
    run.samples([run.header(), lines[0]])
    draw = read_draw(run.run_dir)
    assert (draw.total_energy_uj, draw.total_power_w) == (None, None)
    run.samples(lines[1:2], mode="a")
    draw = read_draw(run.run_dir)
    assert (draw.total_energy_uj, draw.total_power_w) == (1_100_000_000, 110.0)


def test_a_counter_that_did_not_move_is_zero(tmp_path: Path) -> None:
    run = FakeSpool(tmp_path).run("17")
    run.samples([run.header(), *run.records([0, 0], 60)])
    assert read_draw(run.run_dir).total_energy_uj == 0
