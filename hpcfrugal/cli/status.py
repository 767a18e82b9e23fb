"""``hpcfrugal status`` and ``hpcfrugal watch``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from hpcfrugal.cli.format import joules, watts
from hpcfrugal.core.text import duration, printable
from hpcfrugal.job.backend import Backend, JobState
from hpcfrugal.settings.config import Config, load_config
from hpcfrugal.spool.current_power import Draw, read_draw
from hpcfrugal.submit.backends import select
from hpcfrugal.submit.tracked_jobs import TrackedJob, pick, refresh, tracked_jobs

if TYPE_CHECKING:
    from hpcfrugal.report.text_table import TextTable

_ASK_S = 5.0
_PATIENCE_S = 5.0  # for each of Slurm's answers; without one the states are those last heard of
_RECENT = timedelta(days=7)
_NAME_CHARS = 60
_COLOURS = {"RUNNING": "green", "COMPLETED": "dim", "PENDING": "yellow", "FAILED": "red"}


class _Backends:
    """One backend of each name, so that a watch does not build them anew at every look."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: dict[str, Backend] = {}

    def __call__(self, name: str) -> Backend:
        if name not in self._known:
            self._known[name] = select(name, self._config, timeout_s=_PATIENCE_S)
        return self._known[name]


def _jobs(config: Config, wanted: Sequence[str], *, everything: bool) -> list[TrackedJob]:
    since = None if everything or wanted else _RECENT
    jobs = tracked_jobs(config.spool, since=since, now=datetime.now(UTC))
    return pick(jobs, wanted) if wanted else jobs


def _started(states: Sequence[JobState]) -> datetime | None:
    return min((state.start_at for state in states if state.start_at), default=None)


def _elapsed_s(job: TrackedJob) -> float | None:
    started = _started(job.states)
    if started is None:
        return None
    if not job.over:
        return (datetime.now(UTC) - started).total_seconds()
    ends = [state.end_at for state in job.states if state.end_at]
    # One that was killed may have left no word of its end.
    return (max(ends) - started).total_seconds() if ends else None


def _reason(job: TrackedJob) -> str:
    return ", ".join(sorted({state.reason for state in job.states if state.reason and not state.final}))


def _row(job: TrackedJob, draw: Draw) -> dict[str, Any]:
    nodes = sorted({node for state in job.states for node in state.nodes})
    energy_uj = draw.energy_uj
    return {
        "job_id": job.job_id,
        "run_id": job.run_dir.run_id,
        "cluster": job.cluster,
        "name": job.name,
        "state": job.state,
        "reason": _reason(job) or None,
        "elapsed_s": _elapsed_s(job),
        "nodes": nodes,
        "power_w": {key: round(value, 3) for key, value in draw.power_w.items()} if not job.over else {},
        "energy_j": {key: value / 1e6 for key, value in energy_uj.items()},
        "boundary": "nodes as read, not attributed",
    }


def _table(jobs: Sequence[TrackedJob]) -> TextTable:
    from rich.text import Text

    from hpcfrugal.report.text_table import Column, TextTable

    # The ids are there to be copied, so they stay whole; a job of this machine has the one node.
    with_nodes = not all(job.backend == "local" for job in jobs)
    nodes_column = [Column("Nodes", drop=1)] if with_nodes else []
    reasons = [_reason(job) for job in jobs]
    reason_column = [Column("Reason", "text", drop=5)] if any(reasons) else []
    grid = TextTable(
        (
            Column("Job", "word"),
            Column("Name", "text", drop=6),
            Column("State", "word"),
            *reason_column,
            Column("Elapsed", drop=7),
            *nodes_column,
            Column("CPU+DRAM", drop=3),
            Column("GPU", drop=2),
            Column("Node energy", drop=4),
        )
    )
    for job, reason in zip(jobs, reasons, strict=True):
        draw = read_draw(job.run_dir)
        power_w = draw.power_w if not job.over else {}
        host = [value for key, value in power_w.items() if key in {"cpu", "dram"}]
        elapsed_s = _elapsed_s(job)
        nodes = {node for state in job.states for node in state.nodes}
        grid.add(
            (
                printable(job.job_id),
                printable(job.name[:_NAME_CHARS]),
                Text(printable(job.state), style=_COLOURS.get(job.state, "")),
                *([printable(reason)] if reason_column else []),
                duration(int(elapsed_s) * 10**9) if elapsed_s is not None else "–",
                *([str(len(nodes)) if nodes else "–"] if with_nodes else []),
                watts(sum(host) if host else None),
                watts(power_w.get("gpu")),
                joules(draw.total_energy_uj),
            )
        )
    return grid


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--all", "everything", is_flag=True, help="All your jobs, not only those of the last 7 days.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def status(jobs: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Show your jobs, their state, and what their nodes draw now.

    Power and energy here are those of the nodes as they were read. What of it is your job's, `report` says.
    """
    config = load_config()
    found = _jobs(config, jobs, everything=everything)
    for trouble in refresh(found, _Backends(config)):
        click.echo(f"warning: {printable(trouble)}: the states are those last heard of", err=True)
    if as_json:
        click.echo(json.dumps([_row(job, read_draw(job.run_dir)) for job in found], indent=2))
        return
    if not found:
        click.echo("No jobs yet. Submit one: hpcfrugal submit job.yaml")
        return
    from hpcfrugal.cli.console import console

    console().print(_table(found), crop=False)


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--interval", type=click.FloatRange(0.5, 3600), default=2.0, show_default=True, help="Seconds a look.")
def watch(jobs: tuple[str, ...], interval: float) -> None:
    """Follow your jobs live until they are over. Ends by Ctrl-C; the jobs go on."""
    config = load_config()
    backends = _Backends(config)
    found = _jobs(config, jobs, everything=False)
    refresh(found, backends)
    if not jobs:
        found = [job for job in found if not job.over]
    if not found:
        click.echo("None of your jobs waits or runs.")
        return
    from rich.live import Live

    from hpcfrugal.cli.console import console

    out = console()
    if not out.is_terminal or out.is_dumb_terminal or all(job.over for job in found):
        out.print(_table(found), crop=False)
        if all(job.over for job in found):
            return
        while not all(job.over for job in found):
            time.sleep(max(interval, _ASK_S))
            refresh(found, backends)
        out.print(_table(found), crop=False)
        return
    # Slurm is asked every few seconds at most, however fast the picture moves; power comes from the run directories.
    try:
        with Live(_table(found), console=out, auto_refresh=False) as live:
            asked = time.monotonic()
            while not all(job.over for job in found):
                time.sleep(interval)
                if time.monotonic() - asked >= _ASK_S:
                    refresh(found, backends)
                    asked = time.monotonic()
                live.update(_table(found), refresh=True)
    except KeyboardInterrupt:
        sys.exit(130)
