"""Idle power of nodes in the settings, and every mistake at once."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from named_tables import named_table

from hpcfrugal.core.errors import InputError
from hpcfrugal.settings.idle_power import IdlePower, read_idle_powers
from hpcfrugal.settings.section import NamedTable


def entries(**tables: dict[str, Any]) -> dict[str, NamedTable]:
    return {name: named_table("nodes", name, values) for name, values in tables.items()}


def problems(found: dict[str, NamedTable]) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_idle_powers(found)
    return [str(problem) for problem in caught.value.problems]


def test_each_node_of_a_list_has_the_figures_of_its_entry() -> None:
    found = read_idle_powers(
        entries(**{
            "n[1-2]": {"idle_power_w": {"cpu": 60.25, "dram": 8}, "source": "wattmeter 2026-03"},
            "n07,big": {"idle_power_w": {"node": 120}, "tdp_w": 450},
            "n9": {"tdp_w": 225.5},
        })
    )  # fmt: skip
    small = IdlePower((("cpu", 60_250_000), ("dram", 8_000_000)), "wattmeter 2026-03")
    big = IdlePower((("node", 120_000_000),), "/f.toml: nodes.n07,big", 450_000_000)
    cpus_only = IdlePower((), "/f.toml: nodes.n9", 225_500_000)
    assert found == {"n1": small, "n2": small, "n07": big, "big": big, "n9": cpus_only}


def test_a_source_has_200_characters_at_most() -> None:
    found = read_idle_powers(entries(n1={"tdp_w": 1, "source": "s" * 200}))
    assert found["n1"].source == "s" * 200
    (problem,) = problems(entries(n1={"tdp_w": 1, "source": "s" * 201}))
    assert problem == "/f.toml: nodes.n1.source: needs a text of at most 200 characters"
    name = ",".join(f"node{number:03}" for number in range(100))
    assert len(read_idle_powers(entries(**{name: {"tdp_w": 1}}))["node000"].source) == 200


def test_a_missing_entry_gives_no_figure() -> None:
    assert read_idle_powers({}) == {}


def test_every_mistake_is_reported_at_once() -> None:
    found = problems(
        entries(**{
            "n[1-4]": {"idle_power": {}, "idle_power_w": {"cpus": 60, "dram": -1}, "source": ""},
            "n[3-5": {"idle_power_w": {"cpu": 1}},
            "n[4-6]": {"idle_power_w": {"cpu": True, "node": math.nan, "dram": math.inf}},
            "a'; rm -rf ~ #": {"idle_power_w": 60, "source": 7},
        })
    )  # fmt: skip
    text = "\n".join(found)
    for expected in (
        "nodes.n[1-4].idle_power: is not a setting of a node (did you mean idle_power_w?)",
        "nodes.n[1-4].idle_power_w.cpus: is not a setting of idle power (did you mean cpu?)",
        "nodes.n[1-4].idle_power_w.dram: needs a number from 1e-06 to 1e+06",
        "nodes.n[1-4].source: needs a text",
        "does not close its bracket",
        "nodes.n[4-6]: names nodes that /f.toml: nodes.n[1-4] names too: n4",
        "nodes.n[4-6].idle_power_w.cpu: needs a number",
        "nodes.n[4-6].idle_power_w.node: needs a number",
        "nodes.n[4-6].idle_power_w.dram: needs a number",
        "rm -rf ~ #.idle_power_w: needs watts for each component",
        "rm -rf ~ #.source: needs a text",
    ):
        assert expected in text, expected
    assert len(found) == 11


@pytest.mark.parametrize("power_w", ["60", [60], 0, 0.0, -0.5, 10**400, 1e-7, 2e6])
def test_a_value_that_is_not_a_power_is_refused(power_w: Any) -> None:
    assert len(problems(entries(n1={"idle_power_w": {"cpu": power_w}}))) == 1
    assert len(problems(entries(n1={"tdp_w": power_w}))) == 1


@pytest.mark.parametrize("values", [{}, {"idle_power_w": {}}, {"source": "a meter"}])
def test_an_entry_without_figures_is_refused(values: dict[str, Any]) -> None:
    assert re.search(
        "(idle_power_w: needs watts for each component|has neither idle_power_w nor tdp_w)",
        problems(entries(n1=values))[0],
    )


def test_a_gpu_has_no_idle_power_here_and_an_empty_name_no_node() -> None:
    assert "is not a setting of idle power" in problems(entries(n1={"idle_power_w": {"gpu": 60}}))[0]
    assert "names no node" in problems(entries(**{"": {"idle_power_w": {"cpu": 60}}}))[0]
