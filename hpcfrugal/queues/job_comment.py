"""The entry of a low-carbon queue in the comment of a job in Slurm: the queue, and the latest start.

The controller needs only this and the fields of the job, so it can be stopped, moved or lost. Users who change the
comment change only how long their own job waits, and gain no capacity.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hpcfrugal.settings.values import NAME

_PATTERN = re.compile(r"(?:^|\s)hpcfrugal:(queue=[A-Za-z0-9_.=;-]+)(?=\s|$)")
_INSTANT = re.compile(r"\d{1,11}", re.ASCII)
_SECONDS = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_SHARE = re.compile(r"0(?:\.\d{1,9})?|1(?:\.0{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class JobComment:
    """``latest`` is the latest safe StartTime, ``earliest`` the job's own earliest start, ``limit`` its time limit
    unless that is a whole number of minutes, to which Slurm rounds up. ``run`` is the expected run time, from earlier
    runs. ``released``: its user wants it to start now, so it is no longer delayed.

    If the job has a deadline, ``by`` is the deadline minus a margin for the wait: StartTime is not later than ``by``
    minus the current time limit. ``wait`` is the usual wait of such jobs once they may start, and ``min_saving`` the
    job's own least saving for which it waits. Instants are aware UTC in whole seconds.
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
        """The text for the comment. Latest times are rounded down to seconds, the earliest time and spans up."""
        values: dict[str, object] = {
            "queue": self.queue,
            "latest": int(self.latest.timestamp()),
            "by": self.by and int(self.by.timestamp()),
            "earliest": self.earliest and math.ceil(self.earliest.timestamp()),
            "limit": self.limit and math.ceil(self.limit.total_seconds()),
            "run": self.run and math.ceil(self.run.total_seconds()),
            "wait": self.wait and math.ceil(self.wait.total_seconds()),
            "save": None if self.min_saving is None else f"{self.min_saving:.4f}".rstrip("0").rstrip("."),
            "released": 1 if self.released else None,
        }
        return "hpcfrugal:" + ";".join(f"{key}={value}" for key, value in values.items() if value)


def parse_job_comment(comment: str) -> JobComment | None:
    """The queue entry in the comment of a job; None if there is no valid one. The last one counts.

    Unknown keys and invalid values are ignored.
    """
    found = _PATTERN.findall(comment)
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


def insert_comment(text: str, comment: JobComment) -> str:
    """The comment of a job with this entry in place of any earlier one, and its other text unchanged."""
    rest = _PATTERN.sub("", text).strip()
    return f"{rest} {comment.text()}" if rest else comment.text()


def _instant(text: str | None) -> datetime | None:
    if text is None or not _INSTANT.fullmatch(text):
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(text))


def _span(text: str) -> timedelta | None:
    return timedelta(seconds=int(text)) if _SECONDS.fullmatch(text) else None
