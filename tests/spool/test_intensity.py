"""Intensities in the spool: names that stay in their folder, files that count whole or not, newer over older."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.spool import iter_runs
from hpcfrugal.spool.intensity import (
    IntensitySource,
    KnownIntensity,
    intensity_dir,
    intensity_files,
    keep_intensities,
    kept_intensities,
    month_bounds,
    overlaid,
    read_intensities,
)

S = 10**9
NOVEMBER, DECEMBER = month_bounds("2026-11")
FR = IntensitySource("FR", "average", "energy-charts")
FETCHED = NOVEMBER + 40 * 86_400 * S


def known(start: int, end: int, level: float | None = 50.0, **more: Any) -> KnownIntensity:
    """An interval from second to second of November 2026."""
    told: dict[str, Any] = {"fetched_ns": FETCHED, "issued_ns": None, "settled": False, **more}
    return KnownIntensity(NOVEMBER + start * S, NOVEMBER + end * S, level, **told)


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    told = [known(0, 900), known(900, 1800, None, settled=True), known(1800, 2700, 0.0, issued_ns=FETCHED)]
    assert keep_intensities(tmp_path, FR, told) == 1
    assert kept_intensities(tmp_path, FR, NOVEMBER, DECEMBER) == told
    assert kept_intensities(tmp_path, FR, NOVEMBER + 900 * S, NOVEMBER + 1800 * S) == told[1:2]
    (path,) = intensity_files(tmp_path)
    assert (path.parent.name, path.stat().st_mode & 0o777) == ("2026-11", 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_month_is_a_file_and_what_crosses_its_edge_is_cut(tmp_path: Path) -> None:
    over = KnownIntensity(DECEMBER - S, DECEMBER + S, 7.0, FETCHED, None, True)
    assert keep_intensities(tmp_path, FR, [over]) == 2
    parts = kept_intensities(tmp_path, FR, DECEMBER - 10 * S, DECEMBER + 10 * S)
    assert [(part.start_ns - DECEMBER, part.end_ns - DECEMBER) for part in parts] == [(-S, 0), (0, S)]
    assert [path.parent.name for path in intensity_files(tmp_path)] == ["2026-11", "2026-12"]


def test_the_same_answer_again_changes_nothing(tmp_path: Path) -> None:
    keep_intensities(tmp_path, FR, [known(0, 900)])
    assert keep_intensities(tmp_path, FR, [known(0, 900, fetched_ns=FETCHED + S)]) == 0
    assert keep_intensities(tmp_path, FR, [known(0, 900, settled=True)]) == 1


@pytest.mark.parametrize("zone", ["a'; rm -rf ~ #", "../../etc", "x" * 300, "é\n\x1b[2J", ".", "a/b\0"])
def test_no_name_leaves_the_folder(tmp_path: Path, zone: str) -> None:
    source = IntensitySource(zone, "average", zone)
    keep_intensities(tmp_path, source, [known(0, 900)])
    (path,) = intensity_files(tmp_path)
    assert path.parent == intensity_dir(tmp_path) / "2026-11"
    assert read_intensities(path, os.getuid())[0].source == source
    assert list(tmp_path.iterdir()) == [tmp_path / "intensity"]


def test_zones_that_read_alike_have_files_of_their_own() -> None:
    names = {
        IntensitySource(*one).file_name
        for one in [("a.b", "average", "c"), ("a", "average", "b.c"), ("A", "average", "b.c"), ("a", "marginal", "b.c")]
    }
    assert len(names) == 4


def test_runs_are_found_beside_intensities_without_a_warning(tmp_path: Path) -> None:
    keep_intensities(tmp_path, FR, [known(0, 900)])
    skipped: list[str] = []
    assert list(iter_runs(tmp_path, lambda path, reason: skipped.append(path.name))) == []
    assert skipped == []


def write(tmp_path: Path, **changes: Any) -> Path:
    keep_intensities(tmp_path, FR, [known(0, 900), known(900, 1800)])
    (path,) = intensity_files(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def rows(*cells: Any, estimated_by: Any = None) -> list[list[Any]]:
    return [[NOVEMBER, NOVEMBER + S, 50.0, FETCHED, None, False, None], [*cells, estimated_by]]


AFTER = (NOVEMBER + S, NOVEMBER + 2 * S)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"schema": 2}, "schema 2"),
        ({"zone": "DE"}, "another zone"),
        ({"zone": None}, "zone: missing"),
        ({"signal": "both"}, "signal 'both'"),
        ({"columns": ["start"]}, "with the columns start_ns, end_ns"),
        ({"intervals": None}, "lacks intervals"),
        ({"intervals": [1]}, "more or fewer values"),
        ({"intervals": rows(*AFTER, -1.0, FETCHED, None, False)}, "g_per_kwh: not a number from 0 to 1000000"),
        ({"intervals": rows(*AFTER, True, FETCHED, None, False)}, "g_per_kwh: not a number from 0 to 1000000"),
        ({"intervals": rows(*AFTER, "50", FETCHED, None, False)}, "g_per_kwh: not a number from 0 to 1000000"),
        ({"intervals": rows(*AFTER, 2e6, FETCHED, None, False)}, "g_per_kwh: not a number from 0 to 1000000"),
        ({"intervals": rows(*AFTER, 1.0, FETCHED, None, 1)}, "settled"),
        ({"intervals": rows(*AFTER, 1.0, FETCHED, None, True, estimated_by=1)}, "estimated_by: not a text"),
        ({"intervals": rows(*AFTER, 1.0, None, None, True)}, "fetched_ns: missing"),
        ({"intervals": rows(*AFTER, 1.0, AFTER[0], None, True)}, "fetched before its time was over"),
        ({"intervals": rows(AFTER[1], AFTER[0], 1.0, FETCHED, None, True)}, "does not end after its start"),
        (
            {"intervals": rows(0, S, 1.0, FETCHED, None, True)},
            "(start|end)_ns: not an integer from",
        ),
        ({"intervals": rows(NOVEMBER, AFTER[1], 1.0, FETCHED, None, True)}, "overlap"),
        ({"intervals": rows(AFTER[0], DECEMBER + S, 1.0, FETCHED, None, True)}, "outside its month"),
    ],
)
def test_a_file_with_any_error_is_ignored_as_a_whole(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(UnsafeFile, match=why):
        read_intensities(path, os.getuid())
    # It is not written over either: somebody may want to know what it was.
    with pytest.raises(UnsafeFile):
        keep_intensities(tmp_path, FR, [known(0, 900, 1.0)])


def test_links_and_strange_names_are_left_out_and_named(tmp_path: Path) -> None:
    keep_intensities(tmp_path, FR, [known(0, 900)])
    (path,) = intensity_files(tmp_path)
    (path.parent / "link.json").symlink_to(path)
    (path.parent / "x\n.json").write_text("{}")
    (path.parent.parent / "notes").mkdir()
    skipped: list[str] = []
    assert intensity_files(tmp_path, lambda path, reason: skipped.append(path.name)) == [path]
    assert skipped == ["link.json", "x\n.json", "notes"]
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    intensity_dir(elsewhere).symlink_to(intensity_dir(tmp_path))
    assert intensity_files(elsewhere) == []
    with pytest.raises(OSError, match="is a symbolic link"):
        keep_intensities(elsewhere, IntensitySource("DE", "average", "x"), [known(0, 900)])


def test_a_gap_covers_no_figure_and_a_figure_covers_a_gap() -> None:
    old = [known(0, 10, 1.0), known(10, 20, None)]
    assert overlaid(old, [known(0, 20, None)]) == [known(0, 10, 1.0), known(10, 20, None)]
    assert overlaid(old, [known(5, 15, 2.0)]) == [known(0, 5, 1.0), known(5, 15, 2.0), known(15, 20, None)]


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5), st.sampled_from([None, 1.0, 2.0])), max_size=10)


def laid(told: list[tuple[int, int, float | None]], fetched_ns: int) -> list[KnownIntensity]:
    found: list[KnownIntensity] = []
    at = 0
    for gap, length, level in told:
        found.append(known(at + gap, at + gap + length, level, fetched_ns=fetched_ns))
        at += gap + length
    return found


@given(spans, spans)
def test_of_each_instant_the_newest_figure_stays(one: Any, other: Any) -> None:
    old, new = laid(one, FETCHED), laid(other, FETCHED + S)

    def at(told: list[KnownIntensity], second: int) -> float | str | None:
        instant = NOVEMBER + second * S
        return next((each.g_per_kwh for each in told if each.start_ns <= instant < each.end_ns), "nothing")

    merged = overlaid(old, new)
    assert all(before.end_ns <= after.start_ns for before, after in itertools.pairwise(merged))
    for second in range(500):
        was, now = at(old, second), at(new, second)
        better = was if now == "nothing" or (now is None and was != "nothing") else now
        assert at(merged, second) == better
    assert overlaid(merged, merged) == merged
    assert overlaid([], new) == new
