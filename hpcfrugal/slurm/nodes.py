"""Nodes, as sinfo shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcfrugal.core.units import compress_nodelist
from hpcfrugal.slurm.client import Request
from hpcfrugal.slurm.columns import OutputColumn, OutputTable, whole_number
from hpcfrugal.slurm.command import Result

_NODES = OutputTable(
    OutputColumn("node", "%N", str),
    OutputColumn("cpus", "%c", whole_number),
    OutputColumn("sharing", "%h", str),  # what the partition lets jobs share: "NO", "EXCLUSIVE", "YES:4", "FORCE:2"
)
_NOT_SHARED = frozenset({"NO", "EXCLUSIVE"})


@dataclass(frozen=True, slots=True)
class NodeCpus:
    """CPUs of a node as Slurm counts them, and whether a partition lets it give one of them to several jobs at once."""

    count: int
    oversubscribed: bool


@dataclass(frozen=True, slots=True)
class NodesRequest(Request[Mapping[str, NodeCpus]]):
    """The CPUs of nodes; a node that Slurm does not know is left out."""

    nodes: Sequence[str]

    def argv(self) -> list[str]:
        """One sinfo for all of them."""
        argv = ["sinfo", "--Node", "--noheader", "--all", "--exact", "--noconvert"]
        return [*argv, f"--nodes={compress_nodelist(self.nodes)}", f"--format={_NODES.format()}"]

    def answer(self, result: Result) -> Mapping[str, NodeCpus]:
        """Raises SetupError: sinfo failed."""
        found: dict[str, NodeCpus] = {}
        for row in _NODES.rows(result.output()):
            if row["cpus"]:
                # A node is listed once for each of its partitions, any of which may let jobs share CPUs.
                known = found.get(row["node"])
                shared = row["sharing"] not in _NOT_SHARED or (known is not None and known.oversubscribed)
                found[row["node"]] = NodeCpus(row["cpus"], shared)
        return found
