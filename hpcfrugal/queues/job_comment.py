"""What a job of a low-carbon queue carries in Slurm itself, in its comment: the queue, and by when it must start.

The controller needs nothing but this and the job's own fields, so it can be stopped, moved or lost. A user can change
the comment of a job, which is no harm: it says when that user's own job waits, and gives it no room.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hpcfrugal.settings.values import NAME

_TICKET = re.compile(r"(?:^|\s)hpcfrugal:(queue=[A-Za-z0-9_.=;-]+)(?=\s|$)")
_INSTANT = re.compile(r"\d{1,11}", re.ASCII)
_SECONDS = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_SHARE = re.compile(r"0(?:\.\d{1,9})?|1(?:\.0{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class JobComment:
    """``latest`` is the latest safe StartTime, ``earliest`` the one the job itself asked for, ``limit`` its time limit
    where that is no whole number of minutes, to which Slurm would round it up. ``run`` is how long it is expected to
    run, after earlier runs of the kind. ``released``: its user wants it to start now, and it is not put off any more.

    Where the job has a deadline, ``by`` is that less a margin for the wait: StartTime is no later than ``by`` less the
    time limit, whatever that is by now. ``wait`` is how long such jobs usually wait once they may start, and
    ``min_saving`` what the job itself says that waiting has to be worth. Instants are aware UTC of whole seconds.
    """

    queue: str
    latest: datetime
    earliest: datetime | None = None
    limit: timedelta | None = None
    run: timedelta | None = None
    by: datetime | None = None
    wait: timedelta | None = None
    min_saving: float | None = None
    released: bool = False

    def text(self) -> str:
        """As it stands in a comment. Latest instants are rounded down, the earliest and spans up, to seconds."""
        parts = [f"queue={self.queue}", f"latest={int(self.latest.timestamp())}"]
        if self.by is not None:
            parts.append(f"by={int(self.by.timestamp())}")
        if self.earliest is not None:
            parts.append(f"earliest={-int(-self.earliest.timestamp() // 1)}")
        for name, span in (("limit", self.limit), ("run", self.run), ("wait", self.wait)):
            if span:
                parts.append(f"{name}={-int(-span.total_seconds() // 1)}")
        if self.min_saving is not None:
            parts.append(f"save={round(self.min_saving, 4):.4f}".rstrip("0").rstrip("."))
        return "hpcfrugal:" + ";".join([*parts, *(["released=1"] if self.released else [])])


def parse_job_comment(comment: str) -> JobComment | None:
    """The ticket in a comment; None where there is none that makes sense. Of several the last one holds.

    Keys that are not known, and values that make no sense, are as if they were not there.
    """
    found = _TICKET.findall(comment)
    if not found:
        return None
    fields = dict(part.partition("=")[::2] for part in found[-1].split(";"))
    latest = _instant(fields.get("latest"))
    if latest is None or not NAME.fullmatch(fields["queue"]):
        return None
    return JobComment(
        fields["queue"],
        latest,
        _instant(fields.get("earliest")),
        _span(fields.get("limit", "")),
        _span(fields.get("run", "")),
        _instant(fields.get("by")),
        _span(fields.get("wait", "")),
        float(fields["save"]) if _SHARE.fullmatch(fields.get("save", "")) else None,
        released=fields.get("released") == "1",
    )


def with_ticket(comment: str, ticket: JobComment) -> str:
    """A comment with this ticket in it instead of any other; what else it says stays."""
    rest = _TICKET.sub("", comment).strip()
    return f"{rest} {ticket.text()}" if rest else ticket.text()


def _instant(text: str | None) -> datetime | None:
    if text is None or not _INSTANT.fullmatch(text):
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(text))


def _span(text: str) -> timedelta | None:
    return timedelta(seconds=int(text)) if _SECONDS.fullmatch(text) else None
