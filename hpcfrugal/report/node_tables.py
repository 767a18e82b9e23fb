"""The table of nodes for a terminal. Its columns add up across and its channels down, before rounding."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.text import Text

from hpcfrugal.accounting.balance import Balance
from hpcfrugal.core.text import duration, plain
from hpcfrugal.ledger.nodes import NodesFound, NodeSum
from hpcfrugal.report.text import EnergyUnit, count
from hpcfrugal.report.text_table import Column, TextTable

_NAMED = 6


def nodes_table(found: NodesFound) -> RenderableType:
    """A row for each channel of each node, and one for the node with the channels that are added up."""
    unit = EnergyUnit(
        sums.energy_uj for node in found.nodes for sums in (node.total, *(one.sum for one in node.channels.values()))
    )
    grid = TextTable(
        (
            Column("Node", "word"),
            Column("Component", "word"),
            Column("Domain", "text", drop=3),
            Column("Source", "word", drop=2),
            Column(f"Node [{unit.name}]"),
            Column("To jobs"),
            Column("Rest"),
            Column("Jobs"),
            Column("Read for", drop=1),
        )
    )
    for node in found.nodes:
        grid.line()
        for _, channel in sorted(node.channels.items()):
            grid.add(
                (
                    plain(node.node, 24),
                    channel.component if channel.counted else f"{channel.component}, not added",
                    plain(channel.domain, 24),
                    plain(channel.source, 24),
                    *_cells(unit, channel.sum),
                    duration(channel.sum.covered_ns),
                ),
                style="" if channel.counted else "dim",
            )
        total = node.total
        grid.add((plain(node.node, 24), "total", "", "", *_cells(unit, total), ""), style="bold")
    return Stack(grid, *_notes(found))


def _cells(unit: EnergyUnit, sums: Balance) -> tuple[str, str, str, str]:
    values = (unit.show(sums.energy_uj), unit.show(sums.jobs_uj), unit.show(sums.residual_uj))
    return (*values, str(len(sums.shares)))


def _notes(found: NodesFound) -> Iterator[Text]:
    yield Text("Rest: idle and system, jobs that were not sampled, and times in which a job's part is not known.")
    lacking = [node for node in found.nodes if _lacks_idle(node)]
    if lacking:
        named = ", ".join(plain(node.node, 24) for node in lacking[:_NAMED])
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        yield Text(f"Idle power not known of all jobs, so not told apart everywhere: {named}{more}.")
    unknown = {job for node in found.nodes for one in node.channels.values() for job in one.sum.unknown}
    if unknown:
        yield Text(f"{count(len(unknown), 'job')} with a part that is not known, in the rest.")
    yield from _missing(found)


def no_nodes(found: NodesFound) -> RenderableType:
    """Why there is no table."""
    if not found.sampled_jobs:
        return Text("No node was sampled in this period.")
    head = f"No node's energy is known in this period, of {count(found.sampled_jobs, 'job')} with samples."
    unread = len({name.partition(" on ")[0] for name in found.missing}) < found.sampled_jobs
    why = "No sensor was read in those that are there: their figures in `hpcfrugal report` are modelled."
    return Stack(Text(f"{head} {why}" if unread else head), *_missing(found))


def _missing(found: NodesFound) -> Iterator[Text]:
    if found.missing:
        named = "; ".join(plain(name, 120) for name in found.missing[:_NAMED])
        more = f"; and {len(found.missing) - _NAMED} more" if len(found.missing) > _NAMED else ""
        yield Text(f"Not counted: {count(len(found.missing), 'sample file')}: {named}{more}.")


def _lacks_idle(node: NodeSum) -> bool:
    return any(one.counted and one.component != "gpu" and one.idle_lacking for one in node.channels.values())
