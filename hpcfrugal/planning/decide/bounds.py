"""Between which moments a job may start, after its ``schedule`` and its time limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcfrugal.core.errors import InputError
from hpcfrugal.core.format import duration
from hpcfrugal.core.time import iso
from hpcfrugal.job.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Bounds:
    """``latest_start`` is the latest start to plan with, None where nothing bounds it; ``limit`` bounds the run time.

    ``deadline`` is the moment by which the job has ended wherever it starts in time: the file's own, else the latest
    start and the limit; None where one of these is not known. ``notes`` say what could not be held to. ``safe_start``
    is the latest safe start even where it is too late for that, and the job starts as soon as it can.
    """

    earliest: datetime
    latest_start: datetime | None
    deadline: datetime | None
    limit: timedelta | None
    notes: tuple[str, ...] = ()
    safe_start: datetime | None = None


def bounds_of(schedule: Schedule, limit: timedelta | None, now: datetime, *, where: str) -> Bounds:
    """The bounds of a job that is submitted ``now``.

    ``max_delay`` bounds the start, counted from the submission; ``deadline`` the finish, so the latest safe start is
    the deadline less the time limit. Where that is not known no wait is safe, and the job starts as soon as it can.

    Raises InputError where the deadline has passed; ``where`` names the file in it.
    """
    earliest = max(now, schedule.earliest) if schedule.earliest is not None else now
    deadline, safe, notes = schedule.deadline, None, []
    if deadline is not None:
        if deadline <= now:
            raise InputError.at(f"{where}: schedule.deadline", f"{iso(deadline)} has passed")
        if limit is None:
            latest = earliest
            notes.append(
                "no time limit is known, so nothing says how long before the deadline it has to start; "
                "set resources.time to let it wait"
            )
        else:
            latest = safe = deadline - limit
            if latest < earliest:
                late = duration((earliest - latest) // timedelta(microseconds=1) * 1000)
                notes.append(f"with its whole time limit it ends {late} after its deadline, even started at once")
                latest = earliest
    elif schedule.max_delay is not None:
        latest = now + schedule.max_delay
        if latest < earliest:
            notes.append("schedule.earliest is later than schedule.max_delay allows; it starts at the earliest")
            latest = earliest
    else:
        return Bounds(earliest, None, None, limit)
    by = deadline if deadline is not None else latest + limit if limit is not None else None
    return Bounds(earliest, latest, by, limit, tuple(notes), safe or latest)
