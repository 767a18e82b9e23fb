"""``hpcfrugal run``."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcfrugal.config import Config, load_config
from hpcfrugal.errors import HpcfrugalError, InputError, SetupError

if TYPE_CHECKING:
    from hpcfrugal.local_run import LocalRun
    from hpcfrugal.report.summary import JobSummary


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON on stdout after the command's output.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the JSON to this file.")
@click.option("--interval", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, help="Seconds a sample.")
@click.option(
    "--share",
    is_flag=True,
    help="Only the command's share of this machine by CPU time, not all of it. GPUs still count whole.",
)
@click.option("--hardware-counters", is_flag=True, help="Count the command's instructions and cache misses too.")
def run(
    command: tuple[str, ...], as_json: bool, output: Path | None, interval: float, share: bool, hardware_counters: bool
) -> None:
    """Measure a command on this machine; end with its exit code.

    The energy is that of the whole machine while the command ran, unless --share is given. The run is kept in
    the spool and in the ledger like a job.

    \b
    hpcfrugal run -- python train.py
    hpcfrugal run --json -- make -j8
    """
    from hpcfrugal.backends.nodes import keep_run_nodes
    from hpcfrugal.idle_power import idle_powers
    from hpcfrugal.local_run import run_command

    config = load_config()
    powers = idle_powers(config.tables["nodes"])
    if output is not None and not os.access(output.parent, os.W_OK | os.X_OK):
        # Said now, not after a run of ten hours.
        raise InputError.at(str(output), "cannot be written", f"is {output.parent} there, and yours to write?")
    record_s = max(interval, min(10.0, interval * 10))
    done, trouble = run_command(
        command,
        config.spool,
        interval_s=interval,
        record_s=record_s,
        exclusive=not share,
        hardware_counters=hardware_counters,
        zone=config.carbon_zone,
        pue=config.carbon_pue,
    )
    try:
        if trouble is not None:
            click.echo(f"warning: this run is not kept: {trouble}", err=True)
        if done.run_dir is not None:
            for line in keep_run_nodes(done.run_dir, powers):
                click.echo(f"warning: {line}", err=True)
        _show(done, config, as_json=as_json, output=output, kept=trouble is None)
    except (HpcfrugalError, OSError, ValueError) as error:
        # The command is done and its exit code is the answer, whatever became of the figures.
        click.echo(f"error: the run cannot be reported: {error}", err=True)
    finally:
        if trouble is not None:
            shutil.rmtree(done.spool, ignore_errors=True)
    sys.exit(done.exit_code)


def _show(done: LocalRun, config: Config, *, as_json: bool, output: Path | None, kept: bool) -> None:
    if done.run_dir is None:
        raise SetupError("no directory to keep its samples in")
    summary = _summary(done, done.run_dir.run_id, config.ledger if kept else done.spool / "ledger.db")
    if as_json or output is not None:
        text = json.dumps(_document(done, summary), allow_nan=False)
        if output is not None:
            output.write_text(text + "\n", encoding="utf-8")
        if as_json:
            sys.stdout.flush()
            click.echo(text)
        return
    from rich.console import Console

    from hpcfrugal.report import tables

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    console.print(tables.job_detail(summary), crop=False)


def _summary(done: LocalRun, run_id: str, ledger: Path) -> JobSummary:
    from hpcfrugal.ledger.queries import JobFilter, find_jobs
    from hpcfrugal.ledger.store import open_ledger
    from hpcfrugal.ledger.sync import sync
    from hpcfrugal.report.summary import summarise

    sync(done.spool, ledger)
    with open_ledger(ledger) as connection:
        (job,) = find_jobs(connection, JobFilter(jobs=(run_id,)))
    return summarise(job)


def _document(done: LocalRun, summary: JobSummary) -> dict[str, Any]:
    """The run as JSON. ``duration_s`` is the time from the first to the last reading, to which the joules belong."""
    from hpcfrugal.report.machine import job_json

    job = job_json(summary)
    kept = ("energy_j", "boundary", "measured_j", "modelled_j", "complete", "unknown", "coverage", "channels", "absent")
    return {
        **{key: job[key] for key in (*kept, "usage")},
        "duration_s": _window_s(job["channels"]),
        "command_s": done.command_s,
        "exit_code": done.exit_code,
        "run_id": job["run_id"],
    }


def _window_s(channels: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds from the first reading of any channel to the last of any; None where nothing was read."""
    first_ns = min((at_ns for one in channels if (at_ns := one["first_boottime_ns"]) is not None), default=None)
    last_ns = max((at_ns for one in channels if (at_ns := one["last_boottime_ns"]) is not None), default=None)
    return None if first_ns is None or last_ns is None else (last_ns - first_ns) / 1e9
