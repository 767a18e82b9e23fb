"""``hpcfrugal status`` and ``hpcfrugal watch``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from hpcfrugal.backends.base import Backend, JobState
from hpcfrugal.backends.select import select
from hpcfrugal.cli.format import joules, watts
from hpcfrugal.config import Config, load_config
from hpcfrugal.jobs import TrackedJob, pick, refresh, tracked_jobs
from hpcfrugal.live import Draw, read_draw
from hpcfrugal.text import duration, printable

if TYPE_CHECKING:
    from rich.table import Table

_ASK_S = 5.0
_RECENT = timedelta(days=7)
_PIPE_WIDTH = 220
_NAME_CHARS = 60
_COLOURS = {"RUNNING": "green", "COMPLETED": "dim", "PENDING": "yellow", "FAILED": "red"}


class _Backends:
    """One backend of each name, so that a watch does not build them anew at every look."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: dict[str, Backend] = {}

    def __call__(self, name: str) -> Backend:
        if name not in self._known:
            self._known[name] = select(name, self._config)
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
    ends = [state.end_at for state in job.states if state.end_at]
    until = max(ends) if job.over and ends else datetime.now(UTC)
    return (until - started).total_seconds()


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


def _table(jobs: Sequence[TrackedJob]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    # A terminal of 80 columns has room for all of this; a job of this machine has the one node.
    with_nodes = not all(job.backend == "local" for job in jobs)
    for column in ("Job", "Name", "State", "Elapsed", *(["Nodes"] if with_nodes else [])):
        # Where the terminal is narrow it is the name that gives way first.
        least = 8 if column == "Name" else None
        table.add_column(column, no_wrap=column != "Name", overflow="ellipsis", min_width=least)
    for column in ("CPU+DRAM", "GPU", "Node energy"):
        table.add_column(column, justify="right", no_wrap=True)
    for job in jobs:
        draw = read_draw(job.run_dir)
        power_w = draw.power_w if not job.over else {}
        host = [value for key, value in power_w.items() if key in {"cpu", "dram"}]
        elapsed_s = _elapsed_s(job)
        nodes = {node for state in job.states for node in state.nodes}
        state = job.state + (f" ({reason})" if (reason := _reason(job)) else "")
        table.add_row(
            Text(printable(job.job_id)),
            Text(printable(job.name[:_NAME_CHARS]), no_wrap=True),
            Text(state, style=_COLOURS.get(job.state, "")),
            duration(int(elapsed_s) * 10**9) if elapsed_s is not None else "–",
            *([str(len(nodes)) if nodes else "–"] if with_nodes else []),
            watts(sum(host) if host else None),
            watts(power_w.get("gpu")),
            joules(draw.total_energy_uj),
        )
    return table


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
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    console.print(_table(found))


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
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
        console.print(_table(found))
        while not all(job.over for job in found):
            time.sleep(max(interval, _ASK_S))
            refresh(found, backends)
        console.print(_table(found))
        return
    # Slurm is asked every few seconds at most, however fast the picture moves; power comes from the run directories.
    try:
        with Live(_table(found), console=console, auto_refresh=False) as live:
            asked = time.monotonic()
            while not all(job.over for job in found):
                time.sleep(interval)
                if time.monotonic() - asked >= _ASK_S:
                    refresh(found, backends)
                    asked = time.monotonic()
                live.update(_table(found), refresh=True)
    except KeyboardInterrupt:
        sys.exit(130)
