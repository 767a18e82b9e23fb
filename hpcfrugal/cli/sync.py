"""Bringing the ledger up to date from the command line: progress, warnings, and what the spool has lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpcfrugal.api.messages import Progress
from hpcfrugal.api.sync import SHORT_WAIT_S, TROUBLES_SHOWN, Update
from hpcfrugal.cli.streams import colourless, echo_note, echo_or_drop, warn
from hpcfrugal.core.errors import HpcfrugalError, InputError, SetupError
from hpcfrugal.core.format import count
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.queries import RunTotals
from hpcfrugal.ledger.sealing import unsealed_runs
from hpcfrugal.ledger.spools import own_spools
from hpcfrugal.ledger.sync import SyncResult
from hpcfrugal.settings.config import Config
from hpcfrugal.spool import RunDir


class TerminalMessages:
    """Messages on standard error, with a progress bar if that is a terminal."""

    def warn(self, text: str, limit: int = 1000) -> None:
        warn(text, limit)

    def note(self, text: str, limit: int = 1000) -> None:
        echo_note(text, limit)

    def waiting(self) -> None:
        echo_or_drop("another sync is running; waiting for it", err=True)

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress | None]:
        if not sys.stderr.isatty() or colourless():
            yield None
            return
        from rich.progress import Progress as Bars

        from hpcfrugal.cli.console import console

        with Bars(console=console(stderr=True), transient=True) as bars:
            task = bars.add_task(what, total=None)

            def show(done: int, total: int) -> None:
                bars.update(task, completed=done, total=total)

            yield show


def update(config: Config, spool: Path, ledger: Path, **more: Any) -> Update:
    """An update of a ledger that reports on the terminal; ``more`` are other fields of ``Update``."""
    return Update(config, spool, ledger, TerminalMessages(), **more)


def sync_to_read(ledger_path: Path, config: Config) -> None:
    """Bring a ledger up to date for a report, without a long wait for others.

    If that fails, a warning gives the reason, and the ledger is read as it is. If the ledger is empty, raises as
    ``sync``.
    """
    from hpcfrugal.ledger.store import open_ledger

    try:
        results = [update(config, spool, ledger_path, wait_long=False).run()[0] for spool in _due(config, ledger_path)]
    except SetupError as error:
        try:
            with open_ledger(ledger_path, timeout_s=SHORT_WAIT_S) as connection:
                holds = connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None
        except HpcfrugalError:
            raise error from None
        if not holds:
            raise
        warn(f"{plain(error.message, 400)}; the report shows the ledger as it was before")
        return
    for result in results:
        warn_of(result)


def _due(config: Config, ledger_path: Path) -> Iterator[Path]:
    """The spool of the settings, and those of the user before it of which the ledger lacks something."""
    spool, *before = own_spools(ledger_path, config.spool)
    yield spool
    yield from (path for path in before if unsealed_runs(ledger_path, path))


def totals_by_now(config: Config, runs: Sequence[RunDir]) -> list[RunTotals]:
    """The totals of these runs, which are over, after what is new in the spool was read. Slurm is asked only about
    those that have just ended.

    If the ledger cannot be used, a warning gives the reason, and there are none.
    """
    from hpcfrugal.ledger.queries import totals_of_runs
    from hpcfrugal.ledger.store import open_ledger

    by_spool: dict[Path, list[RunDir]] = {}
    for run in runs:
        by_spool.setdefault(run.spool, []).append(run)
    try:
        for spool, own in by_spool.items():
            to_now = update(config, spool, config.ledger, offline=True, wait_long=False)
            try:
                to_now.query_ends(own)
                to_now.read_spool()
            except InputError as error:
                for problem in error.problems:
                    warn(f"settings of nodes are not used: {plain(str(problem), 400)}")
                to_now.read_spool(as_before=True)
        with open_ledger(config.ledger, timeout_s=SHORT_WAIT_S) as connection:
            return totals_of_runs(connection, [run.run_id for run in runs])
    except HpcfrugalError as error:
        hint = f" ({error.hint})" if error.hint else ""
        warn(f"energies are not known: {plain(error.message, 400)}{hint}")
        return []


def warn_of(result: SyncResult) -> None:
    """Name what could not be read, what the spool has lost, and which problems are new."""
    for line in result.skipped[:TROUBLES_SHOWN]:
        warn(line, 300)
    if len(result.skipped) > TROUBLES_SHOWN:
        warn(f"{len(result.skipped) - TROUBLES_SHOWN} more entries of the spool skipped")
    if result.vanished:
        echo_note(f"no longer in the spool, kept in the ledger: {count(len(result.vanished), 'run')}")
    if result.vanished_files:
        echo_note(f"no longer in the spool, kept in the ledger: {some_files(result.vanished_files)}")
    if result.newly_skewed:
        number = count(result.newly_skewed, "node")
        echo_note(f"clocks of nodes disagree with Slurm's ({number} of jobs); `hpcfrugal ledger check` lists them")
    if result.new_problem_files:
        echo_note(f"problems in {count(result.new_problem_files, 'file')}; `hpcfrugal ledger check` lists them")


def some_files(names: Sequence[str]) -> str:
    """How many files, and the first three by name."""
    shown = ", ".join(plain(name, 120) for name in names[:3])
    return f"{count(len(names), 'file')} of existing runs: {shown}{', ...' if len(names) > 3 else ''}"
