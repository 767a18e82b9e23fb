"""Slurm's forms of duration, memory and node lists."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.core import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30 * 60),
        (30, 30 * 60),
        ("10:30", 630),
        ("1:30:00", 5400),
        ("90:00", 5400),
        ("100:00:00", 360_000),
        ("2-12", 216_000),
        ("2-12:30", 217_800),
        ("2-12:30:05", 217_805),
        ("1-0", 86_400),
        (" 1:00:00 ", 3600),
        ("0", 0),
    ],
)
def test_walltime_forms(text: str | int, seconds: int) -> None:
    assert units.parse_walltime(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "bad", ["", "x", "1h", "1:2:3:4", "-5", "1-", "1-2:3:4:5", "1.5", "UNLIMITED", True, None, "9" * 12, "٣"]
)
def test_invalid_walltimes_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        units.parse_walltime(bad)  # type: ignore[arg-type]


def test_a_walltime_has_a_hundred_years_at_most() -> None:
    assert units.parse_walltime("36600-0") == timedelta(days=36_600)
    with pytest.raises(ValueError, match=r"^'36600-0:0:1' is longer than a hundred years\.$"):
        units.parse_walltime("36600-0:0:1")


def test_walltime_is_written_in_slurms_form() -> None:
    assert units.format_walltime(timedelta(minutes=90)) == "01:30:00"
    assert units.format_walltime(timedelta(days=2, hours=1, seconds=9)) == "2-01:00:09"
    assert units.format_walltime(timedelta(milliseconds=1500)) == "00:00:02"
    with pytest.raises(ValueError, match="negative"):
        units.format_walltime(timedelta(seconds=-1))


@given(st.integers(0, 10**9))
def test_walltime_round_trip(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert units.parse_walltime(units.format_walltime(duration)) == duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("15min", 900),
        ("2h", 7200),
        ("1d", 86_400),
        ("1w", 604_800),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("PT12H", 43_200),
        ("P1DT2H", 93_600),
        ("12:00:00", 43_200),
        ("1-12", 129_600),
    ],
)
def test_duration_forms(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("bad", ["", "12", 12, "h", "1h2h", "P", "PT", "-1h", "1x", "1:x", True, None, "1e3s"])
def test_invalid_durations_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"unit|duration"):
        units.parse_duration(bad)  # type: ignore[arg-type]


def test_a_bare_number_takes_the_unit_that_the_caller_names() -> None:
    assert units.parse_duration(0.5, bare_unit="s") == timedelta(milliseconds=500)
    assert units.parse_duration("30", bare_unit="m") == timedelta(minutes=30)


@given(st.integers(0, 10**15))
def test_duration_round_trip(micros: int) -> None:
    duration = timedelta(microseconds=micros)
    assert units.parse_duration(units.format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 << 30),
        ("4g", 4 << 30),
        ("4GB", 4 << 30),
        ("4GiB", 4 << 30),
        ("4 G", 4 << 30),
        ("1.5G", 3 << 29),
        (4000, 4000 << 20),
        ("4000", 4000 << 20),
        ("512K", 512 << 10),
        ("2T", 2 << 40),
        ("0", 0),
    ],
)
def test_memory_forms(text: str | int, size: int) -> None:
    assert units.parse_memory(text) == size


@pytest.mark.parametrize("bad", ["", "G", "4X", "-4G", "4.G", "1.0001G", "4GG", True, None, 1.5, "9" * 16])
def test_invalid_amounts_of_memory_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"memory|KiB"):
        units.parse_memory(bad)  # type: ignore[arg-type]


def test_memory_is_written_with_the_largest_whole_unit() -> None:
    assert units.format_memory(4 << 30) == "4G"
    assert units.format_memory(1536 << 20) == "1536M"
    assert units.format_memory(1) == "1K"
    assert units.format_memory(0) == "0"


@given(st.integers(0, 1 << 45))
def test_memory_round_trip(kib: int) -> None:
    assert units.parse_memory(units.format_memory(kib << 10)) == kib << 10


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("(null)", []),
        ("None assigned", []),
        ("n1", ["n1"]),
        ("n1-4", ["n1-4"]),
        ("n[1-2,07],login", ["n1", "n2", "n07", "login"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("n[9-11]", ["n9", "n10", "n11"]),
        ("n[1-2]-ib,gpu-[a]", ["n1-ib", "n2-ib", "gpu-a"]),
        ("r[1-2]n[3-4]", ["r1n3", "r1n4", "r2n3", "r2n4"]),
        ("[1-2]", ["1", "2"]),
    ],
)
def test_nodelists_expand(text: str, names: list[str]) -> None:
    assert units.expand_nodelist(text) == names


@pytest.mark.parametrize(
    "bad", ["n[1-2", "n1]", "n[[1]]", "n[2-1]", "n[]", "n[1,]", "a,,b", "n[1-99999999]", "n[1-999][1-999]"]
)
def test_broken_or_huge_nodelists_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        units.expand_nodelist(bad)


@pytest.mark.parametrize(
    ("most", "more"),
    [("n[1-65536]", "n[1-65537]"), ("n[1-256]m[1-256]", "n[1-256]m[1-257]"), ("a[0-65534],b", "a[0-65535],b")],
)
def test_a_nodelist_has_65536_names_at_most(most: str, more: str) -> None:
    assert len(units.expand_nodelist(most)) == 65_536
    with pytest.raises(ValueError, match=r"names more than 65536 nodes\.$"):
        units.expand_nodelist(more)


def test_nodelists_compress() -> None:
    assert units.compress_nodelist(["n1", "n2", "n07", "login"]) == "n[1-2,07],login"
    assert units.compress_nodelist(["n3", "n1", "n2", "n2"]) == "n[1-3]"
    assert units.compress_nodelist(["n09", "n10"]) == "n[09-10]"
    assert units.compress_nodelist(["n9", "n010"]) == "n[9,010]"
    assert units.compress_nodelist(["n5"]) == "n5"
    assert units.compress_nodelist([]) == ""
    for bad in ("", "a,b", "n[1]", " n"):
        with pytest.raises(ValueError, match="name"):
            units.compress_nodelist([bad])


_NAMES = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,6}[0-9]{0,3}", fullmatch=True)


@given(st.lists(_NAMES, max_size=30))
def test_nodelist_round_trip(names: list[str]) -> None:
    expanded = units.expand_nodelist(units.compress_nodelist(names))
    assert sorted(expanded) == sorted(set(names))
