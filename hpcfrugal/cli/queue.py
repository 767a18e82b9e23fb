"""``hpcfrugal queue``: low-carbon queues, the jobs that wait in them, and the service that plans their starts."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from hpcfrugal.cli.group import SuggestingGroup
from hpcfrugal.cli.options import checked, json_option
from hpcfrugal.cli.streams import echo, echo_json, echo_wrapped
from hpcfrugal.core.directories import data_dir
from hpcfrugal.core.errors import HpcfrugalError, InputError, SetupError
from hpcfrugal.core.format import NONE, rough_percent, timespan
from hpcfrugal.core.lock import LockHeld, take_lock
from hpcfrugal.core.stop import END, stop_noted
from hpcfrugal.core.text import plain
from hpcfrugal.core.time import iso
from hpcfrugal.core.user import user_name
from hpcfrugal.report import notation
from hpcfrugal.report.field import Field, Rows, attributes, field, table, to_json
from hpcfrugal.settings.config import Config, load_config
from hpcfrugal.settings.values import time_span_of

if TYPE_CHECKING:
    from hpcfrugal.queues.controller import Round
    from hpcfrugal.queues.replan import PlannedStart
    from hpcfrugal.queues.settings import Queue
    from hpcfrugal.report.view import Table

_names = click.argument("names", nargs=-1, metavar="[QUEUE]...")

_RETRY_S = 30.0

_INSTANT: notation.Notation[datetime] = notation.Notation(iso, lambda moment, _: iso(moment))
_CLOCK: notation.Notation[tuple[datetime, datetime]] = notation.Notation(
    lambda times: iso(times[0]), lambda times, _: _clock(*times)
)
"""A time, and the one from which it is shown."""
_TIME: notation.Notation[tuple[datetime, datetime]] = notation.Notation(
    lambda times: iso(times[0]), lambda times, _: _clock(*times, span=False)
)
"""The same without the span between them."""
_SAVING: notation.Notation[float] = notation.Notation(notation.same, lambda share, _: rough_percent(share))

_FIELDS: tuple[Field[PlannedStart], ...] = (
    field("job_id", notation.WORD, lambda one: one.job.job_id, heading="Job", key=True),
    field("user", notation.TEXT, lambda one: one.job.user, heading="User", drop=2),
    field("name", notation.TEXT, lambda one: one.job.name, heading="Name"),
    field("nodes", notation.COUNT, lambda one: one.job.nodes, heading="Nodes", drop=1),
    *attributes(notation.PLAIN, "cpus", of="job"),
    *attributes(_INSTANT, "submit_at", of="job"),
    field("start_at", _CLOCK, lambda one: (one.was_at or one.now, one.now), heading="Starts (UTC)"),
    field("planned_start_at", _INSTANT, lambda one: one.start_at),
    field(
        "new_start_at", _TIME, lambda one: (one.start_at, one.now) if one.moved else None, json="", heading="Planned",
        optional=True, missing=NONE,
    ),
    field("latest_start_at", _TIME, lambda one: (one.latest_at, one.now), heading="Latest", drop=3),
    field("moves", notation.PLAIN, lambda one: one.moved),
    *attributes(notation.PLAIN, "why", "planned_g_per_kwh", "now_g_per_kwh"),
    field("saving", _SAVING, lambda one: one.saving, heading="Saving", drop=4),
)  # fmt: skip


@click.group(name="queue", cls=SuggestingGroup)
def queue_command() -> None:
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


@queue_command.command(name="list")
@_names
@click.option("--all", "all_users", is_flag=True, help="Show jobs of all users.  [default: yours; as root all]")
@json_option()
def queue_list(names: tuple[str, ...], all_users: bool, as_json: bool) -> None:
    """Show waiting jobs: their start, their latest start and the expected saving."""
    user = None if all_users or os.getuid() == 0 else user_name()
    _show_rounds(names, user, only_moved=False, as_json=as_json)


@queue_command.command(name="plan")
@_names
@json_option()
def queue_plan(names: tuple[str, ...], as_json: bool) -> None:
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


def _every(value: str) -> timedelta:
    return time_span_of(value, 1, 86_400)


@queue_command.command(name="run")
@_names
@click.option("--once", is_flag=True, help="Run one round and exit, for cron or scrontab.")
@click.option("--every", default="5m", show_default=True, callback=checked(_every), help="Time between rounds.")
@click.option("--unit", is_flag=True, help="Print a systemd unit for the service and exit.")
@json_option()
def queue_run(names: tuple[str, ...], once: bool, every: timedelta, unit: bool, as_json: bool) -> None:
    """Plan the queues at each new forecast, and set the start times of their jobs in Slurm.

    As root this moves the jobs of all users, otherwise yours. It can be stopped at any time: each job keeps a safe
    start time in Slurm.
    """
    if unit:
        from hpcfrugal.cli.unit import systemd_unit

        echo(systemd_unit(), nl=False)
        return
    config = load_config()
    wanted = _queues(config, names)
    with _alone(once=once), stop_noted(*(() if once else END)) as stop:
        while True:
            pause_s = every.total_seconds()
            try:
                _one_round(config, wanted, as_json)
            except HpcfrugalError as error:
                if once or isinstance(error, InputError):
                    raise
                pause_s = min(_RETRY_S, pause_s)
                echo(f"{_stamp()} {plain(error.message, 400)}; retrying", err=True)
            if once or stop.wait(pause_s):
                return


def _one_round(config: Config, wanted: Sequence[Queue], as_json: bool) -> None:
    from hpcfrugal.queues.controller import forecast_source, may_move, move, plan_round
    from hpcfrugal.slurm.many_requests import client_for

    user = user_name()
    for one in plan_round(wanted, forecast_source(config)):
        for note in one.notes:
            echo(f"{_stamp()} {one.queue.name}: {plain(note, 400)}", err=True)
        moved = [planned for planned in one.plans if planned.moved and may_move(planned.job, user)]
        with client_for(len(moved)) as client:
            for planned in moved:
                refused = move(planned, client)
                if as_json:
                    row = to_json(_FIELDS, planned) | {"queue": one.queue.name, "refused": refused}
                    echo(json.dumps({"at": _stamp(), **row}))
                else:
                    what = f"not moved: {plain(refused, 200)}" if refused else _moved(planned)
                    echo(f"{_stamp()} {one.queue.name}: job {planned.job.job_id} {what}")


@contextlib.contextmanager
def _alone(*, once: bool) -> Iterator[None]:
    """One controller per user: raises SetupError while another one runs, whether it is a service or a single round."""
    path = data_dir() / "queue.lock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        held = take_lock(path)
    except LockHeld:
        hint = None if once else f"it holds {path}"
        raise SetupError("another `queue run` of yours is running", hint=hint) from None
    except OSError as error:
        raise SetupError(f"the lock {path} cannot be taken: {error.strerror}") from None
    with held:
        yield


@queue_command.command(name="release")
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@json_option()
def queue_release(jobs: tuple[str, ...], as_json: bool) -> None:
    """Let your jobs start now, regardless of the carbon intensity."""
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
        "jobs": [to_json(_FIELDS, planned) for planned in one.plans if user in (None, planned.job.user)],
        "held": [job.job_id for job in one.jobs if job.waits and job.job_id not in waiting],
        "running": [job.job_id for job in one.jobs if not job.waits],
    }


def _show(one: Round, user: str | None, *, only_moved: bool) -> None:
    """A table of one queue: all waiting jobs, or those that would be moved."""
    echo(f"{one.queue.name}: {one.used} of {one.capacity} {one.queue.unit} in use, jobs waiting: {len(one.plans)}")
    for note in one.notes:
        echo_wrapped(plain(note, 400), "  ")
    rows = [planned for planned in one.plans if user in (None, planned.job.user) and (planned.moved or not only_moved)]
    if rows:
        from hpcfrugal.cli.console import console
        from hpcfrugal.report.formats.fitted_table import FittedTable

        console().print(FittedTable(queue_table(rows)), crop=False)
    elif one.plans:
        echo("  no start would be moved" if only_moved else "  none of them is yours")


def queue_table(jobs: Sequence[PlannedStart]) -> Table:
    """Waiting jobs with their starts."""
    return table(_FIELDS, [Rows(_FIELDS, jobs)])


def _moved(planned: PlannedStart) -> str:
    saving = ""
    if planned.saving is not None:
        word = "less" if planned.saving >= 0 else "more"
        saving = f", {rough_percent(abs(planned.saving))} {word} carbon than now"
    start, before = _clock(planned.start_at, planned.now), _clock(planned.was_at, planned.now)
    return f"starts {start} instead of {before} ({planned.why}{saving})"


def _clock(moment: datetime | None, now: datetime, *, span: bool = True) -> str:
    """A time in UTC, with the span from now."""
    if moment is None or moment <= now:
        return "now"
    form = "%H:%M" if moment.date() == now.date() else "%a %H:%M"
    form += ":%S" if moment - now < timedelta(minutes=10) else ""
    return f"{moment:{form}}" + (f" (+{timespan(moment - now)})" if span else "")


def _stamp() -> str:
    return iso(datetime.now(UTC).replace(microsecond=0))
