"""``hpcfrugal run``."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcfrugal.cli.labels import checked_labels
from hpcfrugal.cli.options import OUTPUT_FILE, NumberRange, json_option, tag_option
from hpcfrugal.cli.output import can_be_written, write_result
from hpcfrugal.cli.streams import echo, echo_or_drop, echo_wrapped, warn
from hpcfrugal.core.errors import HpcfrugalError, InputError, SetupError
from hpcfrugal.core.text import printable
from hpcfrugal.settings.config import Config, read_config

if TYPE_CHECKING:
    from hpcfrugal.ledger.scopes import BothScopes, ScopeEnergy
    from hpcfrugal.local.run import LocalRun
    from hpcfrugal.report.job import ReportedJob
    from hpcfrugal.settings.idle_power import IdlePower


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
@click.option("--name", metavar="NAME", help="Name of the run in reports.  [default: that of the program]")
@tag_option("Tag of the run, such as project=climate or phase=training. Repeatable.")
@json_option("Print JSON on standard output after the command's output, as a line.")
@click.option("-o", "--output", type=OUTPUT_FILE, help="Write the JSON to this file.")
@click.option("--interval", type=NumberRange(0.1, 60), default=1.0, show_default=True, help="Seconds between samples.")
@click.option(
    "--share",
    is_flag=True,
    help="Count only the command's share of this machine by CPU time. GPUs still count as a whole.",
)
@click.option("--hardware-counters", is_flag=True, help="Count the command's instructions and cache misses too.")
def run_command(
    command: tuple[str, ...], name: str | None, tags: tuple[str, ...], as_json: bool, output: Path | None,
    interval: float, share: bool, hardware_counters: bool,
) -> None:  # fmt: skip
    """Measure a command on this machine; end with its exit code.

    The energy is that of the whole machine while the command ran, unless --share is given. The run is kept in
    the spool and in the ledger like a job.

    With --json the last line of stdout is the JSON, provided that the command ends its output with a line break or
    stdout is a file. Use -o to get the JSON by itself.

    \b
    hpcfrugal run -- python train.py
    hpcfrugal run --name baseline --tag project=climate -- python train.py
    hpcfrugal run --json -- make -j8
    """
    from hpcfrugal.local.run import RunLabels, measure_command
    from hpcfrugal.slurm.node_facts import store_run_nodes
    from hpcfrugal.spool.documents import RunPlace
    from hpcfrugal.spool.used_spools import note_spool

    labels = RunLabels(*checked_labels(name, tags))
    config, powers = _settings()
    if output is not None and not can_be_written(output):
        # Better before a run of ten hours than after it.
        raise InputError.at(
            str(output), "cannot be written", f"{output.parent} must exist, and you need write permission"
        )
    record_s = max(interval, min(10.0, interval * 10))
    done, problem = measure_command(
        command,
        config.spool,
        interval_s=interval,
        record_s=record_s,
        exclusive=not share,
        hardware_counters=hardware_counters,
        place=RunPlace(config.carbon.zone, config.carbon.constant_pue),
        labels=labels,
    )
    kept = done.run_dir is not None and not done.temporary
    if kept:
        note_spool(config.ledger, config.spool)
    try:
        if problem is not None:
            warn(f"{'the end of this run is not recorded' if kept else 'this run is not kept'}: {problem}")
        if done.run_dir is not None:
            for line in store_run_nodes(done.run_dir, powers):
                warn(line)
        _show(done, config, as_json=as_json, output=output, kept=kept)
    except BrokenPipeError:
        pass  # Nobody reads the output any more; the exit code is still that of the command.
    except (HpcfrugalError, OSError, ValueError) as error:
        # The exit code is that of the command, even without a report.
        hint = f" ({error.hint})" if isinstance(error, HpcfrugalError) and error.hint else ""
        with suppress(OSError):
            echo_or_drop(f"error: the run cannot be reported: {printable(str(error))}{hint}", err=True)
    finally:
        if done.temporary:
            shutil.rmtree(done.spool, ignore_errors=True)
    sys.exit(done.exit_code)


def _settings() -> tuple[Config, Mapping[str, IdlePower]]:
    """The valid settings, and the idle power of nodes. Mistakes become warnings, since the command must run."""
    from hpcfrugal.settings.idle_power import read_idle_powers

    try:
        config, problems = read_config()
    except SetupError as error:
        # Without a home directory the user has no settings, and the spool is temporary.
        warn(str(error))
        config, problems = read_config({**os.environ, "HOME": os.devnull})
    for problem in problems:
        warn(str(problem))
    try:
        return config, read_idle_powers(config.tables("nodes"))
    except InputError as error:
        for problem in error.problems:
            warn(str(problem))
        return config, {}


def _show(done: LocalRun, config: Config, *, as_json: bool, output: Path | None, kept: bool) -> None:
    if done.run_dir is None:
        raise SetupError("there is no directory for its samples")
    from hpcfrugal.core.host import this_host
    from hpcfrugal.ledger.scopes import both_scopes
    from hpcfrugal.report.field import to_json
    from hpcfrugal.report.job import JOB_FIELDS

    job = _job_of(done, done.run_dir.run_id, config.ledger if kept else done.spool / "ledger.db", config)
    scopes = both_scopes(done.run_dir, this_host())
    if as_json or output is not None:
        document = _document(done, to_json(JOB_FIELDS, job))
        document["scopes"] = None if scopes is None else _scopes_document(scopes, done.command_s)
        text = json.dumps(document, allow_nan=False)
        if output is not None:
            write_result(output, text)
        if as_json:
            echo(("\n" if _in_mid_line() else "") + text)
        return
    from hpcfrugal.cli.run_summary import summary

    for line in summary(done, job, scopes, config.energy_unit, kept=kept):
        echo_wrapped(line, err=True)


def _scopes_document(scopes: BothScopes, command_s: float) -> dict[str, Any]:
    """Both figures as JSON: ``report`` is the one to publish."""
    from hpcfrugal.report.scope_advice import figure_to_report

    def one(energy: ScopeEnergy) -> dict[str, Any]:
        ends_uj = (energy.energy_uj, *(energy.range_uj or (None, None)))
        names = ("energy_j", "energy_low_j", "energy_high_j")
        joules = {name: None if uj is None else uj / 1e6 for name, uj in zip(names, ends_uj, strict=True)}
        return {**joules, "complete": energy.complete}

    return {
        "whole_machine": one(scopes.machine),
        "command_share": one(scopes.share),
        "command_cpu_part": scopes.cpu_part,
        "report": figure_to_report(scopes, command_s),
    }


def _in_mid_line() -> bool:
    """Whether the output of the command ended without a line break. Known only if the output is a file."""
    try:
        if not stat.S_ISREG(os.fstat(1).st_mode):
            return False
        # Opened again, since a shell opens the target of `>` for writing only.
        with open("/proc/self/fd/1", "rb") as file:
            at = os.lseek(1, 0, os.SEEK_CUR)
            if not at:
                at = file.seek(0, os.SEEK_END)  # nothing written through this descriptor, or `>>`
            if not at:
                return False
            file.seek(at - 1)
            return file.read(1) not in (b"", b"\n")
    except OSError:
        return False


def _job_of(done: LocalRun, run_id: str, ledger: Path, config: Config) -> ReportedJob:
    """The run's job, after a sync of its spool. CO2e is by the intensities that are known already."""
    from hpcfrugal.ledger.due import Defaults
    from hpcfrugal.ledger.queries import JobFilter, find_jobs
    from hpcfrugal.ledger.store import open_ledger
    from hpcfrugal.ledger.sync import sync
    from hpcfrugal.report.job import ReportedJob

    sync(done.spool, ledger, defaults=Defaults.of_settings(config))
    with open_ledger(ledger) as connection:
        jobs = find_jobs(connection, JobFilter(jobs=(run_id,)))
    if not jobs:
        raise SetupError("its samples are no longer in the spool")
    return ReportedJob(jobs[0])


def _document(done: LocalRun, job: Mapping[str, Any]) -> dict[str, Any]:
    """The run as JSON: all that a report has of it, and the time of the command and of the joules.

    ``duration_s`` is the time from the first to the last reading, to which the joules belong.
    """
    times = {"duration_s": _window_s(job["channels"]), "command_s": done.command_s}
    return {**job, **times, "exit_code": done.exit_code}


def _window_s(channels: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds from the first reading of any channel to the last of any; None if nothing was read."""
    first_ns = min((at_ns for one in channels if (at_ns := one["first_boottime_ns"]) is not None), default=None)
    last_ns = max((at_ns for one in channels if (at_ns := one["last_boottime_ns"]) is not None), default=None)
    return None if first_ns is None or last_ns is None else (last_ns - first_ns) / 1e9
