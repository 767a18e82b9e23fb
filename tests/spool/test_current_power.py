"""What a running job draws, from the ends of its sample files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FAKES = str(Path(__file__).resolve().parents[1] / "fakes")
if FAKES not in sys.path:
    sys.path.insert(0, FAKES)

from fake_spool import FakeSpool  # noqa: E402

from hpcfrugal.spool import RunDir  # noqa: E402
from hpcfrugal.spool.current_power import read_draw, sidecars_done  # noqa: E402


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


def test_sidecars_are_done_with_their_last_record(tmp_path: Path) -> None:
    run = FakeSpool(tmp_path).run("17")
    lines = run.records([100, 10], 60)
    assert sidecars_done(run.run_dir), "no job is over yet"
    run.end()
    assert not sidecars_done(run.run_dir), "no samples yet"
    run.samples([run.header(), *lines[:-1]])
    assert not sidecars_done(run.run_dir)
    run.samples(lines[-1:], mode="a")
    assert sidecars_done(run.run_dir)
    run.samples([run.header(node="n2"), lines[0]], node="n2")
    assert not sidecars_done(run.run_dir), "each node has its own"
    assert sidecars_done(RunDir(str(tmp_path / "2026-11" / "20261121T100000Z-00000000"))), (
        "of what is gone nothing comes"
    )


def test_lines_that_are_not_records_are_skipped(tmp_path: Path) -> None:
    run = FakeSpool(tmp_path).run("17")
    lines = run.records([100, 10], 60)[:3]
    path = run.samples([run.header(), *lines])
    for line in ("[" * 20_000, "9" * 5000, '{"kind": "record", "energy_uj": NaN}', "[]"):
        with path.open("a") as file:
            file.write(line + "\n")
    run.samples([run.record(10, [10**400, -1], measured_ns=[10**400, 1])], mode="a")
    draw = read_draw(run.run_dir)
    assert draw.total_energy_uj == 2_200_000_000


def test_only_the_last_64_kib_of_a_file_are_read(tmp_path: Path) -> None:
    run = FakeSpool(tmp_path).run("17")
    path = run.samples([run.header(), *run.records([100, 10], 60)[:3]])
    size = path.stat().st_size
    for length, energy_uj in ((60_000, 2_200_000_000), (70_000, None)):
        os.truncate(path, size)
        with path.open("a") as file:
            file.write("x" * length + "\n")
        assert read_draw(run.run_dir).total_energy_uj == energy_uj


def test_what_is_not_a_file_is_not_waited_for(tmp_path: Path) -> None:
    run = FakeSpool(tmp_path).run("17")
    os.mkfifo(run.run_dir.samples("17", 0, "n1"))
    assert read_draw(run.run_dir).total_energy_uj is None
