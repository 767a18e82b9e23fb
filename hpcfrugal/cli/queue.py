"""``hpcfrugal queue``: the low-carbon queues, who waits in them, and the service that plans them anew."""

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
    """Low-carbon queues: who waits for what, and the service that plans them anew.

    Queues are named in the settings of the site; `hpcfrugal submit --queue NAME` puts a job into one.
    """


def _queues(config: Config, names: Sequence[str]) -> list[Queue]:
    from hpcfrugal.queues.settings import read_queues, the_queue

    if names:
        return [the_queue(config, name, where="queue") for name in dict.fromkeys(names)]
    found = list(read_queues(config.tables("queues")).values())
    if not found:
        raise SetupError("there are no low-carbon queues here", hint="a site's settings name them; see docs/queues.md")
    return found


@queue.command(name="list")
@_names
@click.option("--all", "everybody", is_flag=True, help="Jobs of all users.  [default: yours; as root everybody's]")
@json_option()
def list_(names: tuple[str, ...], everybody: bool, as_json: bool) -> None:
    """Show who waits for what, until when, and with what expected saving."""
    from hpcfrugal.queues.controller import forecast_source, plan_round

    config = load_config()
    rounds = plan_round(_queues(config, names), forecast_source(config))
    user = None if everybody or os.getuid() == 0 else user_name()
    if as_json:
        echo_json({"queues": [_listed(one, user, kept=True) for one in rounds]})
        return
    for one in rounds:
        _show(one, user, kept=True)


@queue.command()
@_names
@click.option("--dry-run", is_flag=True, help="What it does anyway: it moves nothing. For scripts that want to say so.")
@json_option()
def plan(names: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Show what `queue run` would change now. Moves nothing."""
    from hpcfrugal.queues.controller import forecast_source, plan_round

    config = load_config()
    rounds = plan_round(_queues(config, names), forecast_source(config))
    if as_json:
        echo_json({"queues": [_listed(one, None, kept=False) for one in rounds]})
        return
    for one in rounds:
        _show(one, None, kept=False)


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
@click.option("--once", is_flag=True, help="One round and no more, as for cron or scrontab.")
@click.option("--every", default="5m", show_default=True, callback=_every, help="Time between rounds.")
@click.option("--unit", "unit", is_flag=True, help="Print a systemd unit for it, and end.")
@json_option()
def run(names: tuple[str, ...], once: bool, every: timedelta, unit: bool, as_json: bool) -> None:
    """Plan the queues anew, by the newest forecast, and move the jobs' starts in Slurm.

    As root it moves everybody's jobs, else yours. It can be stopped at any time: each job has in Slurm itself a start
    that is safe.
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
                echo(f"{_stamp()} {plain(error.message, 400)}; tried again", err=True)
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
                echo(json.dumps({"at": _iso(datetime.now(UTC)), **row}))
            else:
                what = f"not moved: {plain(refused, 200)}" if refused else _moved(planned, one.at)
                echo(f"{_stamp()} {one.queue.name}: job {planned.job.job_id} {what}")


@contextlib.contextmanager
def _alone(config: Config, *, wait: bool) -> Iterator[None]:
    """One controller of a user at a time. A second service ends; a round from cron leaves it to the service."""
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
    """Let jobs of yours start now, however much carbon the grid's electricity costs."""
    from hpcfrugal.queues.controller import release as let_go
    from hpcfrugal.queues.snapshot import read_snapshot

    queued = {job.job_id: job for job in read_snapshot() if job.waits}
    unknown = [job_id for job_id in jobs if job_id not in queued]
    if unknown:
        raise InputError.at(
            "release", f"waiting in no low-carbon queue: {', '.join(unknown)}", "see `hpcfrugal queue list`"
        )
    refused = {job_id: let_go(queued[job_id]) for job_id in dict.fromkeys(jobs)}
    if as_json:
        rows = [{"job_id": job_id, "released": why is None, "refused": why} for job_id, why in refused.items()]
        echo_json({"jobs": rows})
    else:
        for job_id, why in refused.items():
            echo(f"job {job_id} " + ("starts as soon as there is room" if why is None else plain(why, 200)))
    if any(refused.values()):
        raise SetupError("not all of them could be released")


def _listed(one: Round, user: str | None, *, kept: bool) -> dict[str, Any]:
    waiting = {planned.job.job_id for planned in one.plans}
    return {
        "queue": one.queue.name,
        "at": _iso(one.at),
        "unit": one.queue.unit,
        "capacity": one.queue.capacity_at(one.at.hour * 60 + one.at.minute),
        "forecast": None
        if one.forecast is None
        else {
            "provider": one.forecast.provider,
            "zone": one.forecast.series.zone,
            "signal": one.forecast.series.signal,
            "issued_at": _iso(one.forecast.issued_at),
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
        "submit_at": _iso(job.submit_at),
        "start_at": _iso(planned.was_at or at),
        "planned_start_at": _iso(planned.start_at),
        "latest_start_at": _iso(planned.latest_at),
        "moves": planned.moved,
        "why": planned.why,
        "planned_g_per_kwh": planned.planned_g_per_kwh,
        "now_g_per_kwh": planned.now_g_per_kwh,
        "saving": planned.saving,
    }


def _show(one: Round, user: str | None, *, kept: bool) -> None:
    """A table of one queue: with ``kept`` the starts as they are in Slurm, else what would change."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from hpcfrugal.cli.console import console

    running = [job for job in one.jobs if not job.waits]
    used = sum(job.nodes if one.queue.unit == "nodes" else job.cpus for job in running)
    capacity = one.queue.capacity_at(one.at.hour * 60 + one.at.minute)
    echo(f"{one.queue.name}: {used} of {capacity} {one.queue.unit} in use, {len(one.plans)} jobs wait")
    for note in one.notes:
        echo(f"  {plain(note, 400)}")
    rows = [planned for planned in one.plans if user in (None, planned.job.user) and (kept or planned.moved)]
    if not rows:
        if one.plans:
            echo("  none of them is yours" if kept else "  nothing would be moved")
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
    """An instant as a person reads it, in UTC, with how long that is from now."""
    if moment is None or moment <= now:
        return "now"
    ahead = duration((moment - now) // timedelta(seconds=1) * 10**9)
    form = "%H:%M:%S" if moment.date() == now.date() else "%a %H:%M"
    return f"{moment:{form}} (+{ahead})"


def _stamp() -> str:
    return _iso(datetime.now(UTC)) or ""


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
