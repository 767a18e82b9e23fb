"""The times between which a job may start, from its ``schedule`` and its time limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcfrugal.core.errors import InputError
from hpcfrugal.core.format import timespan
from hpcfrugal.core.time import iso
from hpcfrugal.job.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Bounds:
    """``latest_start`` is the latest start to plan with (None: unbounded), ``limit`` the time limit of the job.

    ``deadline`` is the latest end of the job: that of the file, otherwise the latest start plus the limit; None if that
    is unknown. ``notes`` name bounds that cannot be met. ``safe_start`` is the latest safe start, even if it has passed
    and the job starts as soon as possible.
    """

    earliest: datetime
    latest_start: datetime | None
    deadline: datetime | None
    limit: timedelta | None
    notes: tuple[str, ...] = ()
    safe_start: datetime | None = None


def bounds_of(
    schedule: Schedule,
    limit: timedelta | None,
    now: datetime,
    *,
    where: str,
    slurm_deadline: datetime | None = None,
) -> Bounds:
    """The bounds of a job that is submitted ``now``.

    ``max_delay`` bounds the start, counted from the submission. ``deadline`` bounds the end, so the latest safe start
    is the deadline minus the time limit; if that is unknown, the job starts as soon as possible. ``slurm_deadline`` is
    that of the script's own ``--deadline``, at which Slurm deletes the job; the earlier of the two counts.

    Raises InputError if the deadline has passed; ``where`` names the file.
    """
    earliest = max(now, schedule.earliest) if schedule.earliest is not None else now
    deadlines = {"schedule.deadline": schedule.deadline, "#SBATCH --deadline": slurm_deadline}
    ends = [(at, key) for key, at in deadlines.items() if at is not None]
    deadline, latest, safe, notes = None, None, None, []
    if ends:
        deadline, key = min(ends)
        if deadline <= now:
            raise InputError.at(f"{where}: {key}", f"{iso(deadline)} has passed")
        if limit is None:
            latest = earliest
            notes.append(
                "the time limit is unknown, so the job starts as soon as possible to meet its deadline; "
                "set resources.time to allow a delay"
            )
        else:
            latest = safe = deadline - limit
            if latest < earliest:
                late = timespan(earliest - latest)
                notes.append(f"with its full time limit it ends {late} after its deadline even if it starts now")
                latest = earliest
    if schedule.max_delay is not None:
        delayed = now + schedule.max_delay
        if delayed < earliest:
            notes.append("schedule.earliest is later than schedule.max_delay allows; it starts at schedule.earliest")
            delayed = earliest
        if latest is None or delayed < latest:
            latest, safe = delayed, None
    if latest is None:
        return Bounds(earliest, None, None, limit)
    by = deadline if deadline is not None else latest + limit if limit is not None else None
    return Bounds(earliest, latest, by, limit, tuple(notes), safe or latest)
