"""Partitions, as ``scontrol show partition`` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from hpcfrugal.slurm.client import Request
from hpcfrugal.slurm.columns import walltime
from hpcfrugal.slurm.command import Result


@dataclass(frozen=True, slots=True)
class Partition:
    """``default``: it is the cluster's default partition. ``time_limit`` is the one of a job that names none: the
    partition's default, else its maximum (slurm.conf(5), DefaultTime); None where there is none.
    """

    default: bool
    time_limit: timedelta | None


@dataclass(frozen=True, slots=True)
class PartitionsRequest(Request[list[Partition]]):
    """One partition, or all of them."""

    name: str | None = None

    def argv(self) -> list[str]:
        """One scontrol."""
        return ["scontrol", "show", "partition", *([] if self.name is None else [self.name]), "--oneliner"]

    def answer(self, result: Result) -> list[Partition]:
        """Raises SetupError: there is no such partition, or scontrol failed."""
        found = []
        for line in result.output().splitlines():
            row = dict(cell.partition("=")[::2] for cell in line.split())
            limit = walltime(row.get("DefaultTime", "")) or walltime(row.get("MaxTime", ""))
            found.append(Partition(row.get("Default") == "YES", limit))
        return found
