"""Bringing the ledger up to date: Slurm, power meters and carbon intensities first, with progress and warnings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hpcfrugal.cli.streams import echo_or_drop, note, warn
from hpcfrugal.core.errors import HpcfrugalError, InputError, SetupError
from hpcfrugal.core.format import count
from hpcfrugal.core.text import plain
from hpcfrugal.ledger import sync as engine
from hpcfrugal.ledger.store import BUSY_TIMEOUT_S
from hpcfrugal.settings.config import Config, load_config

SHOWN = 20
"""Lines of one kind that are printed."""

_SHORT_WAIT_S = 5.0
"""How long a report waits for another sync."""

_LOOK_BACK_NS = 60 * 86_400 * 10**9
"""Carbon intensities of older jobs are not fetched again."""


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress

    from hpcfrugal.cli.console import console

    with Progress(console=console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        yield show


def on_wait() -> None:
    echo_or_drop("another sync is running; waiting for it", err=True)


def query_slurm(spool_root: Path, *, wait_long: bool) -> bool:
    """Record Slurm's states of unfinished jobs, and the nodes of finished ones, in the spool.

    The ledger can be built without them. Returns whether Slurm answered, if there was anything to ask. Raises
    InputError for invalid settings of nodes.
    """
    from hpcfrugal.settings.idle_power import read_idle_powers
    from hpcfrugal.slurm.backend import SHORT_S, SlurmBackend
    from hpcfrugal.slurm.node_facts import store_nodes
    from hpcfrugal.slurm.states import refresh_states

    powers = read_idle_powers(load_config().tables("nodes"))
    backend = SlurmBackend(None if wait_long else SHORT_S)
    try:
        refreshed = refresh_states(spool_root, backend)
        for line in refreshed.notes:
            note(line)
        for line in [*refreshed.warnings, *store_nodes(spool_root, powers, backend)]:
            warn(line)
    except SetupError as error:
        reason = " ".join(plain(error.message, 300).split())
        warn(f"Slurm was not queried for unfinished jobs: {reason}")
        return False
    return True


def query_meters(spool_root: Path) -> None:
    """Record the readings of the configured meters for finished jobs in the spool."""
    tables = load_config().tables("meters")
    if not tables:
        return
    import time

    from hpcfrugal.meters.base import Meter
    from hpcfrugal.meters.collect import collect
    from hpcfrugal.meters.settings import read_meters

    meters: list[Meter] = []
    for name, table in tables.items():
        try:
            meters += read_meters({name: table}).values()
        except InputError as error:
            # A mistake in one must not disable the others, nor the report; `doctor` exits with an error.
            for problem in error.problems:
                warn(f"meter {plain(name)} is not read: {plain(str(problem), 300)}")
    if not meters:
        return
    found = collect(spool_root, meters, time.time_ns())
    for line in found.troubles[:SHOWN]:
        warn(line)
    if found.pending:
        note(f"meters have no complete readings for {count(found.pending, 'node')} yet; the next sync tries again")


def sync_to_read(ledger_path: Path, config: Config) -> None:
    """Bring a ledger up to date for a report, without a long wait for others.

    Where that fails, a warning gives the reason, and the ledger is read as it is. Raises what ``sync`` raises if the
    ledger is empty.
    """
    from hpcfrugal.ledger.store import open_ledger

    try:
        run_sync(config.spool, ledger_path, config, wait_long=False)
    except SetupError as error:
        try:
            with open_ledger(ledger_path, timeout_s=_SHORT_WAIT_S) as connection:
                holds = connection.execute("SELECT 1 FROM files LIMIT 1").fetchone() is not None
        except HpcfrugalError:
            raise error from None
        if not holds:
            raise
        warn(f"{plain(error.message, 400)}; the report shows the ledger as it was before")


def _fetch_intensities(spool_root: Path, ledger_path: Path, config: Config, wait_s: float) -> None:
    """Record the actual carbon intensities for the times of jobs in the spool, and read them."""
    import time

    from hpcfrugal.ledger.footprints import Defaults, times_used
    from hpcfrugal.ledger.store import open_ledger

    defaults = Defaults(config.carbon.zone, config.carbon.pue)
    with open_ledger(ledger_path) as connection:
        used = list(times_used(connection, defaults, time.time_ns() - _LOOK_BACK_NS))
    if not used:
        return
    from hpcfrugal.carbon.history import gather

    found = gather(config, spool_root, used)
    for line in found.troubles[:SHOWN]:
        warn(line)
    if found.changed:
        engine.sync_intensities(spool_root, ledger_path, on_wait, wait_s)


def run_sync(
    spool_root: Path, ledger_path: Path, config: Config, *, offline: bool = False, wait_long: bool = True
) -> tuple[engine.SyncResult, bool]:
    """Query Slurm and the meters, sync, then fetch carbon intensities. Returns also whether Slurm answered.

    ``offline``: neither meters nor carbon intensity providers are queried. Without ``wait_long`` the wait for Slurm and
    for another sync is short.
    """
    wait_s = BUSY_TIMEOUT_S if wait_long else _SHORT_WAIT_S
    answered = query_slurm(spool_root, wait_long=wait_long)
    if not offline:
        query_meters(spool_root)
    with progress_bar("Reading the spool") as progress:
        result = engine.sync(spool_root, ledger_path, progress, on_wait, wait_s)
    if not offline:
        _fetch_intensities(spool_root, ledger_path, config, wait_s)
    warn_of(result)
    return result, answered


def warn_of(result: engine.SyncResult) -> None:
    for line in result.skipped[:SHOWN]:
        warn(line, 300)
    if len(result.skipped) > SHOWN:
        warn(f"{len(result.skipped) - SHOWN} more entries of the spool skipped")
    if result.vanished:
        note(f"no longer in the spool, kept in the ledger: {count(len(result.vanished), 'run')}")
    if result.vanished_files:
        note(f"no longer in the spool, kept in the ledger: {some_files(result.vanished_files)}")
    if result.skewed:
        number = count(result.skewed, "node")
        note(f"clocks of nodes disagree with Slurm's ({number} of jobs); `hpcfrugal ledger check` lists them")
    if result.problem_files:
        note(f"problems in {count(result.problem_files, 'file')}; `hpcfrugal ledger check` lists them")


def some_files(names: Sequence[str]) -> str:
    """How many files, and the first three by name."""
    shown = ", ".join(plain(name, 120) for name in names[:3])
    return f"{count(len(names), 'file')} of existing runs: {shown}{', ...' if len(names) > 3 else ''}"
