"""``hpcfrugal ledger``: bring the index of the spool up to date, check it, rebuild it, write it out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from hpcfrugal.core.errors import DataError, HpcfrugalError, InputError, SetupError
from hpcfrugal.core.text import plain
from hpcfrugal.ledger import sync as engine
from hpcfrugal.ledger.store import BUSY_TIMEOUT_S
from hpcfrugal.report.text import count
from hpcfrugal.settings.config import Config, load_config

_SHOWN = 20

_SHORT_S = 5.0
"""So long a report waits for another sync."""

_LOOK_BACK_NS = 60 * 86_400 * 10**9
"""Older jobs keep what is known of the grid: nobody is asked about them."""

_ledger_option = click.option(
    "--ledger", "ledger_path", type=click.Path(path_type=Path), help="The ledger, in place of the configured one."
)
_spool_option = click.option(
    "--spool", "spool_path", type=click.Path(path_type=Path), help="The spool, in place of the configured one."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(name="ledger")
def ledger() -> None:
    """Bring the ledger up to date, check it, rebuild it.

    The ledger is an index over the run directories in the spool; it can be deleted and rebuilt at any time.
    """


def _paths(spool_path: Path | None, ledger_path: Path | None) -> tuple[Path, Path]:
    config = load_config()
    return spool_path or config.spool, ledger_path or config.ledger


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr where that is a terminal; the import of rich waits until then."""
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


def _on_wait() -> None:
    click.echo("another sync is at work; waiting for it", err=True)


def _ask_slurm(spool_root: Path, *, patient: bool) -> None:
    """Keep Slurm's word on unfinished jobs, and the nodes of those that are over, in the spool.

    The ledger can be made without it. Raises ``InputError`` where the settings say something wrong of nodes.
    """
    from hpcfrugal.settings.idle_power import read_idle_powers
    from hpcfrugal.slurm.backend import SHORT_S, SlurmBackend
    from hpcfrugal.slurm.node_facts import keep_nodes
    from hpcfrugal.slurm.states import refresh_states

    powers = read_idle_powers(load_config().tables("nodes"))
    backend = SlurmBackend(None if patient else SHORT_S)
    try:
        for line in [*refresh_states(spool_root, backend), *keep_nodes(spool_root, powers, backend)]:
            click.echo(f"warning: {plain(line, 400)}", err=True)
    except SetupError as error:
        reason = " ".join(plain(error.message, 300).split())
        click.echo(f"warning: Slurm was not asked about unfinished jobs: {reason}", err=True)


def _ask_meters(spool_root: Path) -> None:
    """Keep in the spool what the configured meters say of jobs that are over. The ledger can be made without it."""
    tables = load_config().tables("meters")
    if not tables:
        return
    import time

    from hpcfrugal.meters.collect import collect
    from hpcfrugal.meters.settings import read_meters

    meters = []
    for name, table in tables.items():
        try:
            meters += [one.meter for one in read_meters({name: table}).values()]
        except InputError as error:
            # A mistake in one must not keep users from the others, nor from their reports; `doctor` ends with an error.
            for problem in error.problems:
                click.echo(f"warning: meter {plain(name)} is not asked: {plain(str(problem), 300)}", err=True)
    if not meters:
        return
    found = collect(spool_root, meters, time.time_ns())
    for line in found.troubles[:_SHOWN]:
        click.echo(f"warning: {plain(line, 400)}", err=True)
    if found.pending:
        click.echo(
            f"note: meters have not told all of {count(found.pending, 'node')} yet; asked again at the next sync",
            err=True,
        )


def sync_to_read(ledger_path: Path, config: Config) -> None:
    """Bring a ledger up to date for somebody who waits for a report of it, and does not wait long for others.

    Where that cannot be, a warning says why, and what the ledger holds is there to be read. Raises what ``sync``
    raises where it holds nothing.
    """
    from hpcfrugal.ledger.store import open_ledger

    try:
        run_sync(config.spool, ledger_path, config, patient=False)
    except SetupError as error:
        try:
            with open_ledger(ledger_path, timeout_s=_SHORT_S) as connection:
                holds = connection.execute("SELECT 1 FROM files LIMIT 1").fetchone() is not None
        except HpcfrugalError:
            raise error from None
        if not holds:
            raise
        click.echo(f"warning: {plain(error.message, 400)}; this is what the ledger held before", err=True)


def _ask_grid(spool_root: Path, ledger_path: Path, config: Config, wait_s: float) -> None:
    """Keep in the spool, and read, what the grid's intensity was when jobs drew energy."""
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
    for line in found.troubles[:_SHOWN]:
        click.echo(f"warning: {plain(line, 400)}", err=True)
    if found.changed:
        engine.sync_intensities(spool_root, ledger_path, _on_wait, wait_s)


def run_sync(
    spool_root: Path, ledger_path: Path, config: Config, *, offline: bool = False, patient: bool = True
) -> engine.SyncResult:
    """Ask Slurm and the meters, sync, then ask what the grid was like; a bar on a terminal and warnings on stderr.

    ``offline``: neither meters nor providers of carbon intensities are asked. Without ``patient`` neither Slurm nor
    another sync is waited for long.
    """
    wait_s = BUSY_TIMEOUT_S if patient else _SHORT_S
    _ask_slurm(spool_root, patient=patient)
    if not offline:
        _ask_meters(spool_root)
    with _progress("Reading the spool") as progress:
        result = engine.sync(spool_root, ledger_path, progress, _on_wait, wait_s)
    if not offline:
        _ask_grid(spool_root, ledger_path, config, wait_s)
    _warn(result)
    return result


def _warn(result: engine.SyncResult) -> None:
    for line in result.skipped[:_SHOWN]:
        click.echo(f"warning: {plain(line, 300)}", err=True)
    if len(result.skipped) > _SHOWN:
        click.echo(f"warning: {len(result.skipped) - _SHOWN} more entries of the spool skipped", err=True)
    if result.vanished:
        click.echo(f"note: no longer in the spool, kept in the ledger: {count(len(result.vanished), 'run')}", err=True)
    if result.vanished_files:
        click.echo(f"note: no longer in the spool, kept in the ledger: {_files(result.vanished_files)}", err=True)
    if result.skewed:
        click.echo(
            f"note: clocks of nodes disagree with Slurm's ({count(result.skewed, 'node')} of jobs); "
            "`hpcfrugal ledger check` lists them",
            err=True,
        )
    if result.problem_files:
        click.echo(
            f"note: problems in {count(result.problem_files, 'file')}; `hpcfrugal ledger check` lists them", err=True
        )


def _files(names: Sequence[str]) -> str:
    """How many files, and the first of them by name."""
    shown = ", ".join(plain(name, 120) for name in names[:3])
    return f"{count(len(names), 'file')} of runs that are there: {shown}{', ...' if len(names) > 3 else ''}"


def _show(result: engine.SyncResult, ledger_path: Path, as_json: bool) -> None:
    if as_json:
        document = {
            "ledger": str(ledger_path),
            "runs": result.runs,
            "runs_changed": result.runs_changed,
            "files_read": result.files_read,
            "runs_vanished": list(result.vanished),
            "files_vanished": list(result.vanished_files),
            "skipped": list(result.skipped),
            "problem_files": result.problem_files,
            "clocks_off": result.skewed,
        }
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(
            f"{count(result.runs, 'run')}, {result.runs_changed} changed, {count(result.files_read, 'file')} read"
        )


@ledger.command(name="sync")
@_spool_option
@_ledger_option
@_json_option
@click.option("--offline", is_flag=True, help="Ask no power meter and no provider of carbon intensities.")
def sync_command(spool_path: Path | None, ledger_path: Path | None, as_json: bool, offline: bool) -> None:
    """Read what is new in the spool. Safe to run at any time and any number of times."""
    spool, path = _paths(spool_path, ledger_path)
    _show(run_sync(spool, path, load_config(), offline=offline), path, as_json)


@ledger.command(name="rebuild")
@_spool_option
@_ledger_option
@_json_option
@click.option(
    "--drop-vanished",
    is_flag=True,
    help="Also where runs or files of the ledger are no longer in the spool, or cannot be read now.",
)
def rebuild_command(spool_path: Path | None, ledger_path: Path | None, as_json: bool, drop_vanished: bool) -> None:
    """Build the ledger anew from the spool and put it in place of the old one in one step."""
    spool, path = _paths(spool_path, ledger_path)
    _ask_slurm(spool, patient=True)
    _ask_meters(spool)
    with _progress("Rebuilding the ledger") as progress:
        result = engine.rebuild(spool, path, progress, _on_wait, drop_vanished=drop_vanished)
    _warn(result)
    _show(result, path, as_json)


@ledger.command(name="check")
@_spool_option
@_ledger_option
@_json_option
@click.option("--quick", is_flag=True, help="Do not compare with a ledger built from the spool just now.")
@click.option("--strict", is_flag=True, help="End with exit code 4 for problems in the spool's files too.")
def check_command(spool_path: Path | None, ledger_path: Path | None, as_json: bool, quick: bool, strict: bool) -> None:
    """Look for damage in the ledger, problems in the spool, and differences between the two.

    Exit code 4 where the ledger is damaged or differs from the spool. Runs that are not read yet do not count as
    different.
    """
    spool, path = _paths(spool_path, ledger_path)
    found = engine.check(spool, path, compare=not quick)
    problems = [*found.skipped, *found.problems]
    if as_json:
        document = {
            "ledger": str(path),
            "damage": list(found.damage),
            "differences": list(found.differences),
            "problems": problems,
            "runs_not_synced": list(found.not_synced),
            "runs_vanished": list(found.vanished),
            "files_vanished": list(found.vanished_files),
        }
        click.echo(json.dumps(document, indent=2))
    else:
        _print_check(found, problems, quick)
    if found.damage:
        raise DataError(
            f"the ledger {path} is damaged", hint="`hpcfrugal ledger rebuild` makes a new one from the spool"
        )
    if found.differences:
        raise DataError(
            f"the ledger {path} differs from the spool in {count(len(found.differences), 'row')}",
            hint="`hpcfrugal ledger rebuild` makes a new one from the spool",
        )
    if strict and problems:
        raise DataError(f"{count(len(problems), 'problem')} in the spool {spool}")


def _print_check(found: engine.CheckResult, problems: list[str], quick: bool) -> None:
    for line in found.damage:
        click.echo(f"damage: {plain(line, 300)}")
    for line in problems:
        click.echo(f"problem: {plain(line, 300)}")
    for line in found.differences[:_SHOWN]:
        click.echo(f"difference: {plain(line, 200)}")
    if found.not_synced:
        click.echo(f"changed since the last sync (run `hpcfrugal ledger sync`): {count(len(found.not_synced), 'run')}")
    if found.vanished:
        click.echo(f"no longer in the spool: {count(len(found.vanished), 'run')}")
    if found.vanished_files:
        click.echo(f"no longer in the spool, so their runs were not compared: {_files(found.vanished_files)}")
    if not found.damage and not found.differences:
        agrees = "" if quick else " and agrees with the spool" + (" except for these runs" if found.not_synced else "")
        click.echo(f"the ledger is sound{agrees}")


@ledger.command(name="path")
@_ledger_option
def path_command(ledger_path: Path | None) -> None:
    """Print where the ledger is."""
    click.echo(_paths(None, ledger_path)[1])


@ledger.command(name="export")
@_ledger_option
def export_command(ledger_path: Path | None) -> None:
    """Print the content as sorted lines (table, then the row as JSON); equal for equal content."""
    for line in engine.dump(_paths(None, ledger_path)[1]):
        click.echo(line)
