"""``hpcfrugal queue``: low-carbon queues, the jobs that wait in them, and the service that plans their starts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from hpcfrugal.cli.group import SuggestingGroup
from hpcfrugal.cli.options import json_option
from hpcfrugal.cli.streams import echo, echo_json
from hpcfrugal.core.directories import data_dir
from hpcfrugal.core.errors import HpcfrugalError, InputError, SetupError
from hpcfrugal.core.format import duration, rough_percent
from hpcfrugal.core.lock import LockHeld, take_lock
from hpcfrugal.core.text import plain, printable
from hpcfrugal.core.time import iso
from hpcfrugal.core.user import user_name
from hpcfrugal.settings.config import Config, load_config

if TYPE_CHECKING:
    from hpcfrugal.queues.controller import Round
    from hpcfrugal.queues.replan import Planned
    from hpcfrugal.queues.settings import Queue

_names = click.argument("names", nargs=-1, metavar="[QUEUE]...")

_RETRY_S = 30.0


@click.group(name="queue", cls=SuggestingGroup)
def queue() -> None:
    """Low-carbon queues: waiting jobs, and the service that plans their starts.

    Queues are defined in the settings of the site; `hpcfrugal submit --queue NAME` submits a job to one.
    """


def _queues(config: Config, names: Sequence[str]) -> list[Queue]:
    from hpcfrugal.queues.settings import read_queues, the_queue

    if names:
        return [the_queue(config, name, where="queue") for name in dict.fromkeys(names)]
    found = list(read_queues(config.tables("queues")).values())
    if not found:
        raise SetupError("no low-carbon queues are configured", hint="see docs/queues.md")
    return found


@queue.command(name="list")
@_names
@click.option("--all", "all_users", is_flag=True, help="Show jobs of all users.  [default: yours; as root all]")
@json_option()
def list_(names: tuple[str, ...], all_users: bool, as_json: bool) -> None:
    """Show waiting jobs: their start, their latest start and the expected saving."""
    user = None if all_users or os.getuid() == 0 else user_name()
    _show_rounds(names, user, only_moved=False, as_json=as_json)


@queue.command()
@_names
@click.option("--dry-run", is_flag=True, help="The default: nothing is moved.")
@json_option()
def plan(names: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Show what `queue run` would change now. Moves nothing."""
    _show_rounds(names, None, only_moved=True, as_json=as_json)


def _show_rounds(names: Sequence[str], user: str | None, *, only_moved: bool, as_json: bool) -> None:
    """Plan and show queues, with the jobs of one user or (None) of all."""
    from hpcfrugal.queues.controller import forecast_source, plan_round

    config = load_config()
    rounds = plan_round(_queues(config, names), forecast_source(config))
    if as_json:
        echo_json({"queues": [_listed(one, user) for one in rounds]})
        return
    for one in rounds:
        _show(one, user, only_moved=only_moved)


def _every(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    from hpcfrugal.core.units import parse_duration

    try:
        span: timedelta = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not timedelta(seconds=1) <= span <= timedelta(days=1):
        raise click.BadParameter("needs a time from 1s to 1d")
    return span


@queue.command()
@_names
@click.option("--once", is_flag=True, help="Run one round and end, for cron or scrontab.")
@click.option("--every", default="5m", show_default=True, callback=_every, help="Time between rounds.")
@click.option("--unit", "unit", is_flag=True, help="Print a systemd unit for the service and end.")
@json_option()
def run(names: tuple[str, ...], once: bool, every: timedelta, unit: bool, as_json: bool) -> None:
    """Plan the queues by the newest forecast, again and again, and move the jobs' starts in Slurm.

    As root it moves all users' jobs, else yours. It can be stopped at any time: each job has a safe start in Slurm.
    """
    if unit:
        from hpcfrugal.cli.unit import unit as unit_text

        echo(unit_text(), nl=False)
        return
    config = load_config()
    wanted = _queues(config, names)
    stop = threading.Event()
    if not once:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    with _alone(config, wait=once):
        while True:
            failed = None
            try:
                _one_round(config, wanted, as_json)
            except InputError:
                raise
            except HpcfrugalError as error:
                if once:
                    raise
                failed = error
                echo(f"{_stamp()} {plain(error.message, 400)}; retrying", err=True)
            if once or stop.wait(min(_RETRY_S, every.total_seconds()) if failed else every.total_seconds()):
                return


def _one_round(config: Config, wanted: Sequence[Queue], as_json: bool) -> None:
    from hpcfrugal.queues.controller import forecast_source, may_move, move, plan_round

    user = user_name()
    for one in plan_round(wanted, forecast_source(config)):
        for note in one.notes:
            echo(f"{_stamp()} {one.queue.name}: {plain(note, 400)}", err=True)
        for planned in one.plans:
            if not planned.moved or not may_move(planned.job, user):
                continue
            refused = move(planned)
            if as_json:
                row = _job(planned, one.at) | {"queue": one.queue.name, "refused": refused}
                echo(json.dumps({"at": _stamp(), **row}))
            else:
                what = f"not moved: {plain(refused, 200)}" if refused else _moved(planned, one.at)
                echo(f"{_stamp()} {one.queue.name}: job {planned.job.job_id} {what}")


@contextlib.contextmanager
def _alone(config: Config, *, wait: bool) -> Iterator[None]:
    """Allow one controller per user. A second service ends; so does a round of cron while the service runs."""
    path = data_dir() / "queue.lock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        held = take_lock(path)
    except LockHeld:
        hint = None if wait else f"it holds {path}"
        raise SetupError("another `queue run` of yours is running", hint=hint) from None
    except OSError as error:
        raise SetupError(f"the lock {path} cannot be taken: {error.strerror}") from None
    with held:
        yield


@queue.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@json_option()
def release(jobs: tuple[str, ...], as_json: bool) -> None:
    """Let your jobs start now, whatever the carbon intensity is."""
    from hpcfrugal.queues.controller import release_job
    from hpcfrugal.queues.snapshot import read_snapshot

    queued = {job.job_id: job for job in read_snapshot() if job.waits}
    unknown = [job_id for job_id in jobs if job_id not in queued]
    if unknown:
        raise InputError.at(
            "release", f"not waiting in a low-carbon queue: {', '.join(unknown)}", "see `hpcfrugal queue list`"
        )
    refused = {job_id: release_job(queued[job_id]) for job_id in dict.fromkeys(jobs)}
    if as_json:
        rows = [{"job_id": job_id, "released": why is None, "refused": why} for job_id, why in refused.items()]
        echo_json({"jobs": rows})
    else:
        for job_id, why in refused.items():
            echo(f"job {job_id} " + ("starts as soon as there are free nodes" if why is None else plain(why, 200)))
    if any(refused.values()):
        raise SetupError("not all jobs could be released")


def _listed(one: Round, user: str | None) -> dict[str, Any]:
    waiting = {planned.job.job_id for planned in one.plans}
    return {
        "queue": one.queue.name,
        "at": iso(one.at),
        "unit": one.queue.unit,
        "capacity": one.capacity,
        "forecast": None
        if one.forecast is None
        else {
            "provider": one.forecast.provider,
            "zone": one.forecast.series.zone,
            "signal": one.forecast.series.signal,
            "issued_at": iso(one.forecast.issued_at),
            "stale": one.forecast.stale,
        },
        "notes": list(one.notes),
        "jobs": [_job(planned, one.at) for planned in one.plans if user in (None, planned.job.user)],
        "held": [job.job_id for job in one.jobs if job.waits and job.job_id not in waiting],
        "running": [job.job_id for job in one.jobs if not job.waits],
    }


def _job(planned: Planned, at: datetime) -> dict[str, Any]:
    job = planned.job
    return {
        "job_id": job.job_id,
        "user": job.user,
        "name": job.name,
        "nodes": job.nodes,
        "cpus": job.cpus,
        "submit_at": None if job.submit_at is None else iso(job.submit_at),
        "start_at": iso(planned.was_at or at),
        "planned_start_at": iso(planned.start_at),
        "latest_start_at": iso(planned.latest_at),
        "moves": planned.moved,
        "why": planned.why,
        "planned_g_per_kwh": planned.planned_g_per_kwh,
        "now_g_per_kwh": planned.now_g_per_kwh,
        "saving": planned.saving,
    }


def _show(one: Round, user: str | None, *, only_moved: bool) -> None:
    """A table of one queue: all waiting jobs, or those that would be moved."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from hpcfrugal.cli.console import console

    echo(f"{one.queue.name}: {one.used} of {one.capacity} {one.queue.unit} in use, jobs waiting: {len(one.plans)}")
    for note in one.notes:
        echo(f"  {plain(note, 400)}")
    rows = [planned for planned in one.plans if user in (None, planned.job.user) and (planned.moved or not only_moved)]
    if not rows:
        if one.plans:
            echo("  no start would be moved" if only_moved else "  none of them is yours")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("Job", "User", "Name"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for column in ("Nodes", "Starts", "Planned", "Latest", "Saving"):
        table.add_column(column, justify="right", no_wrap=True)
    for planned in rows:
        job = planned.job
        table.add_row(
            job.job_id,
            Text(printable(job.user)),
            Text(printable(job.name[:40])),
            str(job.nodes),
            _clock(planned.was_at, one.at),
            _clock(planned.start_at, one.at) if planned.moved else "–",
            _clock(planned.latest_at, one.at),
            "unknown" if planned.saving is None else rough_percent(planned.saving),
        )
    console(width=None if os.isatty(1) else 120).print(table)


def _moved(planned: Planned, at: datetime) -> str:

    saving = ""
    if planned.saving is not None:
        word = "less" if planned.saving >= 0 else "more"
        saving = f", {rough_percent(abs(planned.saving))} {word} carbon than now"
    return f"starts {_clock(planned.start_at, at)} instead of {_clock(planned.was_at, at)} ({planned.why}{saving})"


def _clock(moment: datetime | None, now: datetime) -> str:
    """A time in UTC, with the span from now."""
    if moment is None or moment <= now:
        return "now"
    ahead = duration((moment - now) // timedelta(seconds=1) * 10**9)
    form = "%H:%M:%S" if moment.date() == now.date() else "%a %H:%M"
    return f"{moment:{form}} (+{ahead})"


def _stamp() -> str:
    return iso(datetime.now(UTC).replace(microsecond=0))
