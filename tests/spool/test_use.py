"""Figures of use in records and headers that other people's files hold."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

FAKES = str(Path(__file__).resolve().parents[1] / "fakes")
if FAKES not in sys.path:
    sys.path.insert(0, FAKES)

from fake_spool import FakeSpool  # noqa: E402

from hpcfrugal.core.record import codec  # noqa: E402
from hpcfrugal.spool import JobKey  # noqa: E402
from hpcfrugal.spool.sample_header import SampledNode, parse_header  # noqa: E402
from hpcfrugal.spool.sample_record import parse_record  # noqa: E402
from hpcfrugal.spool.use import USE_FIELDS, Use, UseSources  # noqa: E402


@pytest.fixture
def spool(tmp_path: Path) -> FakeSpool:
    return FakeSpool(tmp_path)


def use_of(spool: FakeSpool, figures: dict[str, Any], bad: Counter[str]) -> Use:
    return parse_record(spool.run().record(1, [0, 0]) | figures, 2, bad).use


def test_a_record_without_figures_has_none(spool: FakeSpool) -> None:
    bad: Counter[str] = Counter()
    assert use_of(spool, {}, bad) == Use()
    assert use_of(spool, {"io_read_b": None}, bad) == Use()
    assert not bad


def test_the_figures_of_a_record_are_read(spool: FakeSpool) -> None:
    bad: Counter[str] = Counter()
    figures = {name: index for index, name in enumerate(USE_FIELDS)} | {"io_partial": True}
    assert codec(Use).write(use_of(spool, figures, bad)) == figures
    assert not bad


@pytest.mark.parametrize("value", [-1, 2**63, "5", 1.5, True, [1], {}])
def test_an_invalid_count_costs_itself_alone(spool: FakeSpool, value: Any) -> None:
    bad: Counter[str] = Counter()
    use = use_of(spool, {"io_read_b": value, "io_write_b": 7}, bad)
    assert (use.io_read_b, use.io_write_b) == (None, 7)
    assert [key for key in bad if key.startswith("record field io_read_b: not an integer")]
    assert sum(bad.values()) == 1


def test_a_flag_is_true_or_false(spool: FakeSpool) -> None:
    bad: Counter[str] = Counter()
    assert use_of(spool, {"io_partial": 1}, bad).io_partial is None
    assert bad == {"record field io_partial: not true or false": 1}


@pytest.mark.parametrize(
    ("usage", "problems"),
    [
        (None, []),
        ([], ["header field usage: not an object"]),
        ({"sources": 5, "reasons": None}, ["header field usage.sources: not an object"]),
        (
            {"sources": {"io": None, "memory": 7, "gpu_busy": "nvml"}, "reasons": {"io": "a'; rm -rf ~ #\ud800"}},
            ["header field usage.sources.memory: not a text"],
        ),
    ],
)
def test_sources_of_any_form(spool: FakeSpool, usage: Any, problems: list[str]) -> None:
    bad: Counter[str] = Counter()
    run = spool.run()
    found = parse_header(run.header(usage=usage), SampledNode(run.run_id, JobKey("17", 0), "n1"), bad).usage
    assert sorted(bad) == problems
    assert set(found.sources.values()) <= {"nvml"}
    assert set(found.reasons.values()) <= {"a'; rm -rf ~ #?"}
    if usage is None:
        assert found == UseSources({}, {})
