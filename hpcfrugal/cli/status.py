"""``hpcfrugal status`` and ``hpcfrugal watch``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import click

from hpcfrugal.cli.chosen_jobs import own_jobs
from hpcfrugal.cli.options import NumberRange, job_ids, json_option
from hpcfrugal.cli.streams import echo, echo_json, warn
from hpcfrugal.cli.sync import totals_by_now
from hpcfrugal.core.format import ABOVE_0, AT_LEAST, NONE, EnergyUnit, power
from hpcfrugal.core.time import span_us
from hpcfrugal.job.backend import Backend
from hpcfrugal.ledger.sums import EnergySums, total_of
from hpcfrugal.report import notation
from hpcfrugal.report.amount import PARTLY_UNKNOWN, bound_sign
from hpcfrugal.report.field import Field, Rows, attributes, field, scale, table, to_json
from hpcfrugal.report.view import Block, Notes, Table, note
from hpcfrugal.settings.config import Config, load_config
from hpcfrugal.spool.current_power import Draw, read_draw
from hpcfrugal.spool.job_names import short_job_id
from hpcfrugal.submission.backends import select_backend
from hpcfrugal.submission.tracked_jobs import TrackedJob, pick, refresh

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hpcfrugal.ledger.queries import RunTotals
    from hpcfrugal.ledger.total_rows import JobTotalsRow

_QUERY_S = 5.0
_TIMEOUT_S = 5.0  # for each Slurm query; without an answer the last known states are shown
_RECENT = timedelta(days=7)
_HOST = frozenset({"cpu", "dram"})

_POWER: notation.Notation[float] = notation.Notation(lambda power_w: power_w, lambda power_w, _: power(power_w))


def _backends(config: Config) -> Callable[[str], Backend]:
    """One backend of each name, kept between the refreshes of `watch`."""
    return cache(lambda name: select_backend(name, config, timeout_s=_TIMEOUT_S))


def _jobs(config: Config, wanted: Sequence[str], *, everything: bool) -> list[TrackedJob]:
    since = None if everything or wanted else _RECENT
    jobs = own_jobs(config, since)
    return pick(jobs, wanted) if wanted else [job for job in jobs if everything or not job.forgotten]


def _elapsed_ns(job: TrackedJob) -> int | None:
    ran = job.ran(datetime.now(UTC))
    return None if ran is None else span_us(ran) * 1000


def _reason(job: TrackedJob) -> str | None:
    if not job.job_id:
        return "sbatch did not answer; the job may be in the queue"
    return ", ".join(sorted({state.reason for state in job.states if state.reason and not state.final})) or None


def _not_started(job: TrackedJob) -> str | None:
    """Why a job of this machine never started. (Slurm's reason of a job that is over may be an old one.)"""
    return next((one.reason for one in job.states if one.final and one.reason), None) if job.is_local else None


class JobStatus(NamedTuple):
    """A job, the power of its nodes now, and what its executions used."""

    job: TrackedJob
    draw: Draw
    totals: tuple[JobTotalsRow, ...] = ()

    @property
    def nodes(self) -> list[str]:
        return sorted({node for state in self.job.states for node in state.nodes})

    @property
    def power_w(self) -> dict[str, float]:
        return {} if self.job.over else self.draw.power_w

    @property
    def host_power_w(self) -> float | None:
        """Of CPU and memory, as far as both are read."""
        known = [value for key, value in self.power_w.items() if key in _HOST]
        return sum(known) if known else None

    @property
    def sums(self) -> EnergySums:
        return total_of(one.sums for one in self.totals)

    @property
    def complete(self) -> bool:
        return bool(self.totals) and all(one.complete or one.not_started for one in self.totals)

    @property
    def modelled(self) -> bool:
        """Whether a part of the energy is modelled."""
        return self.sums.modelled_uj is not None


def _shown(jobs: Sequence[TrackedJob], config: Config | None) -> list[JobStatus]:
    """The jobs, with the settings also the energy of those that are over."""
    over = [job.run_dir for job in jobs if job.over and not job.forgotten]
    found = totals_by_now(config, over) if config is not None and over else []
    of_runs: dict[str, list[RunTotals]] = {}
    for one in found:
        of_runs.setdefault(one.run_id, []).append(one)

    def totals(job: TrackedJob) -> tuple[JobTotalsRow, ...]:
        tasks = None if job.task is None else {state.array_task_id for state in job.states}
        own = of_runs.get(job.run_dir.run_id, ())
        return tuple(one.totals for one in own if tasks is None or one.task in tasks)

    return [JobStatus(job, read_draw(job.run_dir), totals(job)) for job in jobs]


def _state_role(one: JobStatus) -> str:
    state = one.job.state
    return "failed" if one.job.over and state != "COMPLETED" else state.lower()


_FIELDS: tuple[Field[JobStatus], ...] = (
    field("job_id", notation.PLAIN, lambda one: one.job.label or None),
    field(
        "job", notation.WORD, lambda one: short_job_id(one.job.label) or None, json="", heading="Job", drop=4,
        key=True, missing=NONE
    ),
    field("run_id", notation.PLAIN, lambda one: one.job.run_dir.run_id),
    *attributes(notation.PLAIN, "cluster", of="job"),
    field("name", notation.TEXT, lambda one: one.job.name, heading="Name"),
    field("state", notation.WORD, lambda one: one.job.state, heading="State", role=_state_role),
    field("reason", notation.TEXT, lambda one: _reason(one.job) or _not_started(one.job)),
    field(
        "waits_for", notation.TEXT, lambda one: _reason(one.job), json="", heading="Reason", drop=2, optional=True,
        missing="",
    ),
    field("elapsed_s", notation.SPAN, lambda one: _elapsed_ns(one.job), heading="Elapsed", drop=3, missing=NONE),
    *attributes(notation.PLAIN, "nodes"),
    # A local job has one node, this machine.
    field(
        "node_count", notation.PLAIN, lambda one: (one.job.backend == "slurm_cli" and len(one.nodes)) or None, json="",
        heading="Nodes", drop=1, optional=True, missing=NONE,
    ),
    field("power_w", notation.PLAIN, lambda one: {key: round(value, 3) for key, value in one.power_w.items()}),
    field(
        "host_power_w", _POWER, lambda one: one.host_power_w, json="", heading="CPU+DRAM", optional=True,
        before=lambda one: bound_sign(one.power_w.keys() >= _HOST), missing=NONE,
    ),
    field(
        "gpu_power_w", _POWER, lambda one: one.power_w.get("gpu"), json="", heading="GPU", optional=True, missing=NONE
    ),
    field("node_energy_j", notation.PLAIN, lambda one: {key: value / 1e6 for key, value in one.draw.energy_uj.items()}),
    field(
        "energy_j", notation.ENERGY, lambda one: one.sums.energy_uj, heading="Energy [{energy}]",
        before=lambda one: bound_sign(one.complete) + "~" * one.modelled, missing=NONE,
    ),
    field("measured_j", notation.ENERGY, lambda one: one.sums.measured_uj),
    field("modelled_j", notation.ENERGY, lambda one: one.sums.modelled_uj),
    field("complete", notation.PLAIN, lambda one: one.complete if one.totals else None),
)  # fmt: skip


def status_table(jobs: Sequence[JobStatus], unit: EnergyUnit) -> Table:
    """The jobs with their state, power and energy."""
    rows = [Rows(_FIELDS, jobs)]
    return table(_FIELDS, rows, scale(rows, unit))


def status_blocks(jobs: Sequence[JobStatus], unit: EnergyUnit) -> list[Block]:
    """The table, and what the signs before its figures mean."""
    shown = status_table(jobs, unit)
    notes = []
    if any(cell.text.startswith((AT_LEAST, ABOVE_0)) for row in shown.rows for cell in row.cells):
        notes.append(PARTLY_UNKNOWN)
    if any(one.modelled for one in jobs):
        notes.append(note("~: modelled, at least a part; `hpcfrugal report JOB` shows the range.", "aside"))
    return [shown, Notes(tuple(notes))] if notes else [shown]


def _renderable(jobs: Sequence[JobStatus], config: Config) -> RenderableType:
    from hpcfrugal.report.formats.text_blocks import renderable

    return renderable(status_blocks(jobs, config.energy_unit))


@click.command(name="status")
@job_ids(required=False)
@click.option("--all", "everything", is_flag=True, help="All your jobs, not only those of the last 7 days.")
@json_option("Print a JSON list.")
def status_command(jobs: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Show your jobs, their state, and the power of their nodes.

    JOB is a job id, 15_3 or 15_[1-3] for tasks of an array, a run id or its beginning or end, a job's name, or
    `latest`. Power is that of whole nodes as read. Energy is that of jobs that are over; `report` shows where it comes
    from.
    """
    config = load_config()
    found = _jobs(config, jobs, everything=everything)
    for trouble in refresh(found, _backends(config)):
        warn(f"{trouble}: the last known states are shown")
    if as_json:
        echo_json([to_json(_FIELDS, one) for one in _shown(found, config)])
        return
    if not found:
        echo("No jobs yet. Submit one: hpcfrugal submit job.yaml")
        return
    from hpcfrugal.cli.console import console

    console().print(_renderable(_shown(found, config), config), crop=False)
    for job in found:
        if reason := _not_started(job):
            warn(f"job {job.label}: {reason}")


@click.command(name="watch")
@job_ids(required=False)
@click.option(
    "--interval", type=NumberRange(0.5, 3600), default=2.0, show_default=True, help="Seconds between refreshes."
)
def watch_command(jobs: tuple[str, ...], interval: float) -> None:
    """Follow your jobs until they end. Ctrl-C ends `watch`, not the jobs."""
    config = load_config()
    backends = _backends(config)
    found = _jobs(config, jobs, everything=False)
    refresh(found, backends)
    if not jobs:
        found = [job for job in found if job.job_id and not job.over]
    if not found:
        echo("You have no pending or running jobs.")
        return
    from rich.live import Live

    from hpcfrugal.cli.console import console

    out = console()

    def shown() -> RenderableType:
        over = all(job.over for job in found)
        return _renderable(_shown(found, config if over else None), config)

    if not out.is_terminal or out.is_dumb_terminal or all(job.over for job in found):
        out.print(shown(), crop=False)
        while not all(job.over for job in found):
            time.sleep(max(interval, _QUERY_S))
            refresh(found, backends)
            if all(job.over for job in found):
                out.print(shown(), crop=False)
        return
    # Slurm is queried every few seconds at most, whatever the interval; power comes from the run directories.
    try:
        with Live(shown(), console=out, auto_refresh=False) as live:
            queried = time.monotonic()
            while not all(job.over for job in found):
                time.sleep(interval)
                if time.monotonic() - queried >= _QUERY_S:
                    refresh(found, backends)
                    queried = time.monotonic()
                live.update(shown(), refresh=True)
    except KeyboardInterrupt:
        sys.exit(130)
