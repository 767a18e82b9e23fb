"""Nodes, as sinfo shows them: the CPUs of some, the hardware of all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hpcfrugal.core.units import compress_nodelist
from hpcfrugal.slurm.client import Request
from hpcfrugal.slurm.columns import OutputColumn, OutputTable, whole_number, word
from hpcfrugal.slurm.command import Result

_NODES = OutputTable(
    OutputColumn("node", "%N", str),
    OutputColumn("cpus", "%c", whole_number),
    OutputColumn("sharing", "%h", str),  # what the partition lets jobs share: "NO", "EXCLUSIVE", "YES:4", "FORCE:2"
)
_HARDWARE = OutputTable(
    OutputColumn("node", "%N", str),
    OutputColumn("cpus", "%c", whole_number),
    OutputColumn("sockets", "%X", whole_number),
    OutputColumn("cores_per_socket", "%Y", whole_number),
    OutputColumn("memory_mib", "%m", whole_number),
    OutputColumn("gres", "%G", word),
    OutputColumn("features", "%f", word),
    OutputColumn("sharing", "%h", str),
)
_GRES_SOCKETS = re.compile(r"\([^)]*\)")  # "gpu:a100:4(S:0-1)": the sockets that a resource is at
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


@dataclass(frozen=True, slots=True)
class NodeHardware:
    """What Slurm's configuration gives a node. ``cores`` are physical; None: not shown. ``oversubscribed`` as that of
    ``NodeCpus``."""

    cpus: int
    cores: int | None
    memory_mib: int | None
    gres: str | None
    features: str | None
    oversubscribed: bool = False


@dataclass(frozen=True, slots=True)
class HardwareRequest(Request[Mapping[str, NodeHardware]]):
    """The hardware of all nodes of the cluster, by their names."""

    def argv(self) -> list[str]:
        """One sinfo for all of them, those of hidden partitions too."""
        return ["sinfo", "--Node", "--noheader", "--all", "--exact", "--noconvert", f"--format={_HARDWARE.format()}"]

    def answer(self, result: Result) -> Mapping[str, NodeHardware]:
        """Raises SetupError: sinfo failed."""
        found: dict[str, NodeHardware] = {}
        for name, node in self._nodes(result.output()):
            known = found.get(name)
            found[name] = replace(node, oversubscribed=True) if known is not None and known.oversubscribed else node
        return found

    def _nodes(self, text: str) -> Iterator[tuple[str, NodeHardware]]:
        for row in _HARDWARE.rows(text):
            if row["cpus"]:
                cores = (row["sockets"] or 0) * (row["cores_per_socket"] or 0) or None
                gres = None if row["gres"] is None else _GRES_SOCKETS.sub("", row["gres"])
                shared = row["sharing"] not in _NOT_SHARED
                yield row["node"], NodeHardware(row["cpus"], cores, row["memory_mib"], gres, row["features"], shared)
