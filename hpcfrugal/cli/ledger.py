"""``hpcfrugal ledger``: bring the index of the spool up to date, check it, rebuild it, export it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hpcfrugal.api.sync import TROUBLES_SHOWN
from hpcfrugal.cli.group import SuggestingGroup
from hpcfrugal.cli.ledger_import import import_group
from hpcfrugal.cli.ledger_options import ledger_choice
from hpcfrugal.cli.options import configured_ledger, configured_spool, json_option
from hpcfrugal.cli.streams import echo, echo_json
from hpcfrugal.cli.sync import TerminalMessages, some_files, update, warn_of
from hpcfrugal.core.errors import DataError, SetupError
from hpcfrugal.core.format import count
from hpcfrugal.core.text import plain
from hpcfrugal.ledger import sync as engine
from hpcfrugal.ledger.check import CheckResult, check_ledger
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.parquet import VIEW_TIMES, count_rows, write_parquet
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.settings.config import load_config


@click.group(name="ledger", cls=SuggestingGroup)
def ledger_command() -> None:
    """Bring the ledger up to date, check it, rebuild it.

    The ledger is an index over the run directories in the spool; it can be deleted and rebuilt at any time.
    """


ledger_command.add_command(import_group)


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
        echo_json(document)
    else:
        echo(f"{count(result.runs, 'run')}, {result.runs_changed} changed, {count(result.files_read, 'file')} read")


@ledger_command.command(name="sync")
@configured_spool
@configured_ledger
@json_option()
@click.option("--offline", is_flag=True, help="Do not query power meters or carbon intensity providers.")
@click.option("--all", "everything", is_flag=True, help="Read all files again, including those of finished runs.")
def sync_command(spool: Path, ledger_path: Path, as_json: bool, offline: bool, everything: bool) -> None:
    """Read what is new in the spool. Safe at any time, and safe to repeat.

    Exits with 3 if Slurm did not answer. Then the states of unfinished jobs are not up to date; all else is.
    """
    result, answered = update(load_config(), spool, ledger_path, offline=offline, everything=everything).run()
    warn_of(result)
    _show(result, ledger_path, as_json)
    _exit_without_slurm(answered)


@ledger_command.command(name="rebuild")
@configured_spool
@configured_ledger
@json_option()
@click.option(
    "--drop-vanished",
    is_flag=True,
    help="Drop runs and files that are in the ledger, but missing from the spool or unreadable.",
)
def rebuild_command(spool: Path, ledger_path: Path, as_json: bool, drop_vanished: bool) -> None:
    """Build the ledger from the spool and replace the old one in one step."""
    result, answered = update(load_config(), spool, ledger_path).rebuild(drop_vanished=drop_vanished)
    warn_of(result)
    _show(result, ledger_path, as_json)
    _exit_without_slurm(answered)


def _exit_without_slurm(answered: bool) -> None:
    if not answered:
        sys.exit(SetupError.exit_code)


@ledger_command.command(name="check")
@configured_spool
@configured_ledger
@json_option()
@click.option("--quick", is_flag=True, help="Do not compare with a ledger built from the spool.")
@click.option("--strict", is_flag=True, help="Exit with 4 for problems in files of the spool too.")
def check_command(spool: Path, ledger_path: Path, as_json: bool, quick: bool, strict: bool) -> None:
    """Look for damage in the ledger, problems in the spool, and differences between the two.

    Exits with 4 if the ledger is damaged or differs from the spool. Runs that are not read yet do not count.
    """
    found = check_ledger(spool, ledger_path, compare=not quick)
    problems = [*found.skipped, *found.problems]
    if as_json:
        document = {
            "ledger": str(ledger_path),
            "damage": list(found.damage),
            "differences": list(found.differences),
            "problems": problems,
            "runs_not_synced": list(found.not_synced),
            "runs_vanished": list(found.vanished),
            "files_vanished": list(found.vanished_files),
        }
        echo_json(document)
    else:
        _print_check(found, problems, quick)
    if found.damage or found.differences:
        differs = f"differs from the spool in {count(len(found.differences), 'row')}"
        what = "is damaged" if found.damage else differs
        hint = "`hpcfrugal ledger rebuild` builds a new one from the spool"
        raise DataError(f"the ledger {ledger_path} {what}", hint=hint)
    if strict and problems:
        raise DataError(f"{count(len(problems), 'problem')} in the spool {spool}")


def _print_check(found: CheckResult, problems: list[str], quick: bool) -> None:
    for line in found.damage:
        echo(f"damage: {plain(line, 300)}")
    for line in problems:
        echo(f"problem: {plain(line, 300)}")
    for line in found.differences[:TROUBLES_SHOWN]:
        echo(f"difference: {plain(line, 200)}")
    if found.not_synced:
        echo(f"changed since the last sync (run `hpcfrugal ledger sync`): {count(len(found.not_synced), 'run')}")
    if found.vanished:
        echo(f"no longer in the spool: {count(len(found.vanished), 'run')}")
    if found.vanished_files:
        echo(f"no longer in the spool, so their runs were not compared: {some_files(found.vanished_files)}")
    if not found.damage and not found.differences:
        agrees = "" if quick else " and agrees with the spool" + (" except for these runs" if found.not_synced else "")
        echo(f"the ledger is sound{agrees}")


@ledger_command.command(name="path")
@ledger_choice
def path_command(ledger_path: Path | None) -> None:
    """Print the path of the ledger."""
    echo(str(ledger_path or load_config().ledger))


@ledger_command.group(name="export", cls=SuggestingGroup, invoke_without_command=True)
@configured_ledger
@click.pass_context
def export_group(context: click.Context, ledger_path: Path) -> None:
    """Print the content as sorted lines: the table, then the row as JSON. Equal content gives equal lines.

    With `parquet`, write the views to files for DuckDB, Polars, Dask or Spark.
    """
    if context.invoked_subcommand is None:
        for line in dump(ledger_path):
            echo(line)


@export_group.command(name="parquet")
@click.argument("folder", type=click.Path(path_type=Path))
@configured_ledger
@click.option(
    "--view",
    "views",
    type=click.Choice(tuple(VIEW_TIMES)),
    multiple=True,
    help="Only this view. Repeat it for several.",
)
@click.option("--partition-by", type=click.Choice(["month"]), help="One folder a month, as Hive names them.")
@click.option("--replace", is_flag=True, help="Put it in the place of an earlier export.")
@json_option()
def parquet_command(
    folder: Path, ledger_path: Path, views: tuple[str, ...], partition_by: str | None, replace: bool, as_json: bool
) -> None:
    """Write the views of the ledger to Parquet files in FOLDER, all or those of --view.

    Needs pyarrow: `pip install 'hpcfrugal[parquet]'`. The folder appears when it is whole.

    \b
    hpcfrugal ledger export parquet november --partition-by month
    duckdb -c "SELECT user, sum(energy_kwh) FROM 'november/jobs_energy/**/*.parquet' GROUP BY user"
    """
    chosen = tuple(dict.fromkeys(views)) or tuple(VIEW_TIMES)
    with open_ledger(ledger_path) as connection, TerminalMessages().progress("Writing") as progress:
        total, done = count_rows(connection, chosen) if progress else 0, 0

        def wrote(rows: int) -> None:
            nonlocal done
            done += rows
            if progress is not None:
                progress(done, total)

        by_month = partition_by is not None
        rows = write_parquet(connection, folder, chosen, by_month=by_month, replace=replace, wrote=wrote)
    if as_json:
        echo_json({"folder": str(folder), "rows": rows})
    else:
        for view, number in rows.items():
            echo(f"{count(number, 'row')} of {view}")
