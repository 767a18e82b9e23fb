"""A run directory beside what the ledger has of it: what a sync would read, and what is gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from hpcfrugal.ledger.run_files import RunFiles
from hpcfrugal.ledger.run_listing import ListedFile, RunListing
from hpcfrugal.spool.layout import RunDir

_AT_ONCE = 100
"""Runs that are looked up together."""


class KnownRun(NamedTuple):
    """A run that is in the ledger; ``sealed_mtime_ns``: the modification time of its directory when it was sealed."""

    run: int
    accepted: bool
    sealed_mtime_ns: int | None


def with_known(
    connection: sqlite3.Connection, spool: int | None, runs: Sequence[RunDir]
) -> Iterator[tuple[RunDir, KnownRun | None]]:
    """The runs of a spool, each with what the ledger has of it; None where it has nothing."""
    for start in range(0, len(runs), _AT_ONCE):
        some = runs[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        rows = connection.execute(
            "SELECT run_id, run, accepted, sealed_runs.mtime_ns FROM runs LEFT JOIN sealed_runs USING (run)"
            f" WHERE spool = ? AND run_id IN ({marks})",
            (spool, *(run.run_id for run in some)),
        )
        known = {run_id: KnownRun(run, bool(accepted), mtime_ns) for run_id, run, accepted, mtime_ns in rows}
        for run in some:
            yield run, known.get(run.run_id)


def written_runs(connection: sqlite3.Connection, spool: int, run_ids: Sequence[str]) -> set[str]:
    """Those of some runs that the ledger has."""
    marks = ", ".join("?" * len(run_ids))
    query = f"SELECT run_id FROM runs WHERE spool = ? AND run_id IN ({marks})"
    return {run_id for (run_id,) in connection.execute(query, (spool, *run_ids))}


@dataclass
class RunState:
    """A run directory as it was listed, the run's row in the ledger where it has one, and its files there."""

    listing: RunListing
    known: KnownRun | None
    files: RunFiles

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """The files that count in the ledger and are gone."""
        there = {file.clean_name for file in self.listing.files}
        return tuple(name for name in self.files.accepted if name not in there)

    @cached_property
    def changed(self) -> list[ListedFile]:
        """The files that are to be read. Nothing can be read of a run that has lost its run.json, so what the ledger
        has of it stays as it is."""
        if self.listing.run_dir.run_json.name in self.missing:
            return []
        return [file for file in self.listing.files if not self.files.is_as_read(file)]
