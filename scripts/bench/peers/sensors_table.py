"""The Markdown of the `sensors` benchmark, from the object that it prints with --json."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from machines import CASES

COSTS_FROM = "two-socket"
"""The case with 4 RAPL zones and 2 GPUs."""

COMPONENTS = ("cpu", "dram", "gpu", "psys")


def markdown(found: dict[str, Any]) -> str:
    """The circumstances, the errors, the costs, and what went wrong."""
    names = _names(found)
    parts = [_head(found), _errors(found, names), _costs(found, names), _killed(found, names), _notes(found)]
    return "\n\n".join(part for part in parts if part)


def error(result: dict[str, Any], component: str) -> float | None:
    """Error of a measured component in per cent of the truth; None where nothing was measured."""
    joules = result["energy_j"].get(component)
    if joules is None or component in result["modelled"]:
        return None
    true_j = _truth_j(result, component)
    return float(joules / true_j - 1) * 100


def _truth_j(result: dict[str, Any], component: str) -> float:
    within = [component, *(part for part, whole in result.get("within", {}).items() if whole == component)]
    return float(sum(result["truth_j"].get(name, 0.0) for name in within))


def _names(found: dict[str, Any]) -> list[str]:
    """The tools in the order in which they were asked for."""
    names: dict[str, None] = {}
    for results in found["cases"].values():
        names |= dict.fromkeys(result["tool"] for result in results)
    return list(names)


def _head(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["peers"].items() if name in _names(found))
    lines = [
        f"`{found['command']}`, {found['at'][:16].replace('T', ' ')} UTC, commit {found['commit']}, "
        f"{found['took_s'] / 60:.0f} minutes.",
        f"{found['system']}, Linux {found['kernel']}, {found['cpus']} CPUs ({found['cpu_model']}), {found['python']}; "
        f"load {found['load_1min']} before and {found['load_1min_after']} after, {found['others_cpus']:.2f} of "
        f"{found['cpus']} CPUs busy with other things; {found['at_once']} trackers at work together.",
    ]
    return "\n".join([*lines, f"{versions}."] if versions else lines)


def _errors(found: dict[str, Any], names: Sequence[str]) -> str:
    rows = []
    for case, results in found["cases"].items():
        by_tool = _finished(results)
        truth: dict[str, float] = next((result["truth_j"] for result in by_tool.values()), {})
        for component in COMPONENTS:
            if component in truth:
                cells = [_cell(by_tool.get(name), component) for name in names]
                rows.append([case, component, *cells])
    return f"Error in % of the truth, runs of {found['seconds']:g} s:\n\n" + _table(["case", "part", *names], rows)


def _finished(results: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["tool"]: item for item in results if not item["killed"] and "failed" not in item}


def _cell(result: dict[str, Any] | None, component: str) -> str:
    if result is None:
        return "failed"
    if whole := result.get("within", {}).get(component):
        return f"in {whole}"
    joules = result["energy_j"].get(component)
    if joules is None:
        return "none"
    if joules == 0:
        return "0 J"
    if component in result["modelled"]:
        seconds = (result["to_ns"] - result["from_ns"]) / 1e9
        return f"model: {joules / seconds:.1f} W for {_truth_j(result, component) / seconds:.0f}"
    found = error(result, component)
    assert found is not None
    return f"{found:+.3f}" if abs(found) < 10 else f"{found:+.1f}"


def _costs(found: dict[str, Any], names: Sequence[str]) -> str:
    by_tool = _finished(found["cases"].get(COSTS_FROM, []))
    if not by_tool:
        return ""
    every = [item for results in found["cases"].values() for item in results if "start_s" in item]

    def median(name: str, key: str) -> float:
        return float(statistics.median([item[key] for item in every if item["tool"] == name]))

    def most(name: str, key: str) -> float:
        return max(float(item[key]) for item in every if item["tool"] == name)

    present = [name for name in names if name in by_tool]
    rows = [
        ["CPU, s in 60 s", *(f"{by_tool[name]['cpu_s_per_60s']:.3f}" for name in present)],
        ["CPU, s, start and end included", *(f"{by_tool[name]['cpu_life_s']:.2f}" for name in present)],
        ["peak resident memory, MiB", *(f"{by_tool[name]['peak_rss_kib'] / 1024:.1f}" for name in present)],
        ["of how many processes", *(str(by_tool[name]["processes"]) for name in present)],
        ["start, ms, median of all cases", *(f"{median(name, 'start_s') * 1000:.0f}" for name in present)],
        ["start, ms, longest", *(f"{most(name, 'start_s') * 1000:.0f}" for name in present)],
        ["stop, ms, median of all cases", *(f"{median(name, 'stop_s') * 1000:.0f}" for name in present)],
        ["stop, ms, longest", *(f"{most(name, 'stop_s') * 1000:.0f}" for name in present)],
    ]
    return f"Cost, in the case {COSTS_FROM} where it does not say otherwise:\n\n" + _table(["", *present], rows)


def _killed(found: dict[str, Any], names: Sequence[str]) -> str:
    killed = [item for results in found["cases"].values() for item in results if item["killed"] and "kept" in item]
    rows = []
    for name in names:
        for item in (item for item in killed if item["tool"] == name):
            kept = item["kept"]
            joules = "none" if kept["energy_j"] is None else f"{kept['energy_j']:.0f} J"
            lost = "all" if kept["energy_j"] is None else "?" if kept["lost_s"] is None else f"{kept['lost_s']:.1f}"
            rows.append([name, str(kept["bytes"]), joules, lost, str(item["left_behind"])])
    if not rows:
        return ""
    heads = ["killed", "bytes in its files", "energy in them", "s lost", "processes left"]
    return f"After kill -9, {found['killed_after_s']:g} s into the case two-socket:\n\n" + _table(heads, rows)


def _notes(found: dict[str, Any]) -> str:
    lines = [f"- {name} could not be installed: {why}" for name, why in found["missing"].items()]
    for case, results in found["cases"].items():
        lines.append(f"- {case}: {CASES[case].words}.")
        if CASES[case].denied:
            told = [name for name, item in _finished(results).items() if item["warned"]]
            lines.append(
                f"- {case}: the reason is told (in a log, a message or the result) by {', '.join(told) or 'none'}."
            )
        for item in results:
            if "failed" in item:
                lines.append(f"- {case}, {item['tool']}{', killed' if item['killed'] else ''}: {item['failed']}")
    return "\n".join(lines)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---" if index == 0 else "---:" for index in range(len(heads))], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
