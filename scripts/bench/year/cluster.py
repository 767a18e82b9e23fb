"""A cluster with one shared queue, from event to event: Slurm's part, and the controller's rounds every half-hour.

Slurm starts a job once its start time is there and there are nodes for it, in the order of submission, later ones past
those for which there are too few. Nodes in use never exceed the capacity: a job that finds none at its latest start
starts late, and counts as missed.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from year.jobs import Job

from hpcfrugal.queues.job_comment import JobComment
from hpcfrugal.queues.snapshot import QueuedJob

QUEUE = "green"
MAX_DELAY_S = 24 * 3600
# At one instant ends come first, then submissions, then rounds, then starts.
_END, _SUBMIT, _ROUND, _BEGIN = range(4)


@dataclass(slots=True)
class Entry:
    """A job in the queue. ``begin_s`` is its start time in Slurm; ``start_s`` when it started; ``run_s`` how long it is
    expected to run.
    """

    job: Job
    begin_s: int
    start_s: int | None = None
    run_s: int | None = None
    moves: int = 0

    @property
    def latest_s(self) -> int:
        """Its latest safe start."""
        return self.job.submit_s + MAX_DELAY_S


class Policy(Protocol):
    """Says when jobs start. Both methods are told the time and see the cluster as it is then."""

    def submitted(self, cluster: Cluster, entry: Entry) -> int:
        """The start time with which a job is submitted; it is not among ``waiting`` yet."""

    def round(self, cluster: Cluster) -> None:
        """May move jobs, with ``cluster.move``."""


@dataclass(slots=True)
class Cluster:
    """``now_s`` is in seconds after ``start``; jobs by number, in the order of submission.

    ``ended`` has what jobs of a kind took, in seconds, in the order of their ends; ``ran_s`` and ``asked_s`` are what
    all of them took and had asked for.
    """

    start: datetime
    capacity: int
    now_s: int = 0
    used: int = 0
    most_used: int = 0
    waiting: dict[int, Entry] = field(default_factory=dict)
    running: dict[int, Entry] = field(default_factory=dict)
    ended: dict[int, list[int]] = field(default_factory=dict)
    ran_s: int = 0
    asked_s: int = 0
    _events: list[tuple[int, int, int]] = field(default_factory=list)

    def run(self, jobs: Sequence[Job], policy: Policy, every_s: int) -> list[Entry]:
        """All jobs from the first submission to the last end, with a round every so many seconds."""
        entries = {job.number: Entry(job, job.submit_s) for job in jobs}
        self._events = [(job.submit_s, _SUBMIT, job.number) for job in jobs]
        heapq.heapify(self._events)
        heapq.heappush(self._events, (0, _ROUND, 0))
        left = len(jobs)
        while left or self.running:
            self.now_s, what, number = heapq.heappop(self._events)
            if what == _END:
                job = self.running.pop(number).job
                self.used -= job.nodes
                self.ended.setdefault(job.kind, []).append(job.run_s)
                self.ran_s, self.asked_s = self.ran_s + job.run_s, self.asked_s + job.limit_s
            elif what == _SUBMIT:
                entry = entries[number]
                entry.begin_s = policy.submitted(self, entry)
                self.waiting[number] = entry
                self._alarm(entry)
            elif what == _ROUND:
                if self.waiting:
                    policy.round(self)
                heapq.heappush(self._events, (self.now_s + every_s, _ROUND, 0))
            # Starts come after all else that happens at this instant.
            if not self._events or self._events[0][0] > self.now_s or self._events[0][1] == _BEGIN:
                left -= self._start_what_can()
        return list(entries.values())

    def move(self, entry: Entry, begin_s: int) -> None:
        """What the controller does by scontrol: never later than the latest safe start, nor for a job that runs."""
        if entry.job.number in self.waiting:
            entry.begin_s = min(begin_s, entry.latest_s)
            entry.moves += 1
            self._alarm(entry)

    def at(self, seconds: int) -> datetime:
        """An instant of the year."""
        return self.start + timedelta(seconds=seconds)

    def seconds(self, moment: datetime) -> int:
        """The opposite of ``at``; planners may answer with a fraction, which Slurm does not know."""
        return round((moment - self.start) / timedelta(seconds=1))

    def queue(self) -> list[QueuedJob]:
        """What squeue would show."""
        return [self.queued(entry) for group in (self.waiting, self.running) for entry in group.values()]

    def queued(self, entry: Entry) -> QueuedJob:
        """One row of it."""
        job, limit_s = entry.job, entry.job.limit_s
        runs = entry.start_s is not None
        return QueuedJob(
            job_id=str(job.number),
            state="RUNNING" if runs else "PENDING",
            nodes=job.nodes,
            cpus=job.nodes,
            limit=timedelta(seconds=limit_s),
            submit_at=self.at(job.submit_s),
            begin_at=None if runs else self.at(entry.begin_s),
            end_at=self.at(entry.start_s + limit_s) if entry.start_s is not None else None,
            comment=JobComment(QUEUE, self.at(entry.latest_s), run=timedelta(seconds=entry.run_s or 0) or None),
        )

    def _alarm(self, entry: Entry) -> None:
        heapq.heappush(self._events, (max(self.now_s, entry.begin_s), _BEGIN, entry.job.number))

    def _start_what_can(self) -> int:
        started = [
            entry
            for entry in self.waiting.values()
            if entry.begin_s <= self.now_s and self._takes(entry.job.nodes)
        ]  # fmt: skip
        for entry in started:
            del self.waiting[entry.job.number]
            self.running[entry.job.number] = entry
            entry.start_s = self.now_s
            heapq.heappush(self._events, (self.now_s + entry.job.run_s, _END, entry.job.number))
        return len(started)

    def _takes(self, nodes: int) -> bool:
        if self.used + nodes > self.capacity:
            return False
        self.used += nodes
        self.most_used = max(self.most_used, self.used)
        return True
