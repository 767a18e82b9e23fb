"""What an agent counted, by buckets of time: for each channel of the node all jobs and the rest, which add up to it.

Records hold sums since the header. What rose between two of them that lie in different buckets is split in proportion
to time, for each job and for the rest alike; the energy of the node in a bucket is the sum of these, so that nothing is
lost or there twice. Pure functions; a session may be read in parts, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import add, lt, sub

from hpcfrugal.accounting.buckets import BUCKET_NS, Instants
from hpcfrugal.spool.agent_records import AgentHeader, AgentJob, AgentRecord

Amounts = dict[int, int]
"""An amount by the start of its bucket in ns."""

AmountRows = dict[int, list[int]]
"""An amount of each channel that is kept, by the start of its bucket in ns."""

LifeName = tuple[str, int]
"""What tells the jobs of a session apart: name and ``first_ns``, as in ``JobLife``."""


def kept_channels(header: AgentHeader) -> list[int]:
    """The channels that the ledger keeps: measured ones that are in sums, or read the whole node."""
    return [
        index
        for index, channel in enumerate(header.channels)
        if channel.quality == "measured" and (channel.counted or channel.boundary == "node")
    ]


@dataclass(slots=True)
class JobAccount:
    """A job in a session: its latest sums, and what it had by bucket of each channel that is kept.

    ``taken`` is what has been put into the buckets.
    """

    latest: AgentJob
    first_wall_ns: int
    last_wall_ns: int
    ended: bool
    by_bucket: AmountRows
    taken: list[int]


@dataclass(slots=True)
class SessionSums:
    """What a session has come to. ``gone_uj`` is what jobs had that ended since the last record."""

    rest: AmountRows
    energy: AmountRows
    missing: list[Amounts]
    gone_uj: list[int]
    last_wall_ns: int
    records: int = 0
    stopped: bool = False
    jobs: dict[LifeName, JobAccount] = field(default_factory=dict)

    @classmethod
    def of(cls, channels: int, wall_ns: int) -> SessionSums:
        """Those of a session that begins."""
        return cls({}, {}, [Amounts() for _ in range(channels)], [0] * channels, wall_ns)


class _Span:
    """A time in which energy rose: within a bucket, as most are, or over several."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        bucket = start_ns - start_ns % BUCKET_NS
        self._bucket = bucket
        self._instants = Instants([start_ns, end_ns]) if end_ns > bucket + BUCKET_NS else None

    def put(self, sums: AmountRows, amounts: list[int]) -> None:
        """Add amounts to those of the buckets, in proportion to time."""
        if not any(amounts):
            return
        if self._instants is None:
            before = sums.get(self._bucket)
            sums[self._bucket] = amounts if before is None else list(map(add, before, amounts))
            return
        columns = [self._instants.by_bucket([0, amount]) for amount in amounts]
        for bucket in columns[0]:
            row = [column[bucket] for column in columns]
            if any(row):
                sums[bucket] = list(map(add, sums[bucket], row)) if bucket in sums else row

    def put_one(self, sums: Amounts, amount: int) -> None:
        """Add one amount."""
        parts = {self._bucket: amount} if self._instants is None else self._instants.by_bucket([0, amount])
        for bucket, part in parts.items():
            sums[bucket] = sums.get(bucket, 0) + part


KnownJob = Callable[[LifeName, AgentJob], JobAccount | None]
"""What is known of a job by lines that were read before."""


class SessionAccounts:
    """One session. ``sums`` and ``latest`` are those to go on from; ``changed`` are the jobs of which more was read."""

    def __init__(
        self,
        header: AgentHeader,
        sums: SessionSums | None = None,
        latest: AgentRecord | None = None,
        known: KnownJob = lambda name, job: None,
    ) -> None:
        self.header = header
        self.kept = kept_channels(header)
        self.changed: set[LifeName] = set()
        self._known = known
        self.sums = sums or SessionSums.of(len(self.kept), header.wall_ns)
        self.latest = latest
        self._from = latest
        self._gone_uj = [0] * len(self.kept)
        self._offset_ns = header.wall_ns - header.boottime_ns
        self._interval_ns = round((header.interval_s or 1) * 1e9)
        self._present: set[LifeName] = set() if latest is None else set(latest.names)

    def take(self, record: AgentRecord) -> None:
        """Take the next record."""
        at_ns = record.boottime_ns + self._offset_ns
        present = set(record.names)
        self._note_missing(record, at_ns)
        if self._from is None or self.latest is None:
            self._note_gone()
            self._from = self.latest = record
            self._add(record, [self.header.wall_ns, at_ns], record.energy_uj)
        else:
            from_ns = self._from.boottime_ns + self._offset_ns
            is_due = at_ns > from_ns - from_ns % BUCKET_NS + BUCKET_NS or not present >= self._present
            if is_due:
                self.settle()
            self._note_gone()
            self.latest = record
            if is_due:
                self.settle()
        self._present = present
        self.sums.records += 1
        self.sums.last_wall_ns = max(self.sums.last_wall_ns, at_ns)
        self.sums.stopped = record.kind == "end"

    def take_ended(self, job: AgentJob) -> None:
        """Take a job that has ended."""
        at_ns = (job.ended_ns or 0) + self._offset_ns
        latest_ns = self.header.wall_ns if self.latest is None else self.latest.boottime_ns + self._offset_ns
        self.settle()  # what it had up to the latest record is in the sums of that
        account = self._account(job, at_ns)
        start_ns = min(max(latest_ns, account.first_wall_ns), at_ns)
        span = _Span(start_ns, at_ns)
        grown = self._grow(account, job, span)
        span.put(self.sums.energy, grown)
        if at_ns <= latest_ns and self.latest is not None:
            # a late line: what a record did not give to the job was in the rest
            for sums in (self.sums.rest, self.sums.energy):
                span.put(sums, [-amount for amount in grown])
        else:
            self.sums.gone_uj = list(map(add, self.sums.gone_uj, grown))
        account.ended, account.last_wall_ns = True, max(account.last_wall_ns, at_ns)
        self._present.discard(_name(job))
        self.sums.last_wall_ns = max(self.sums.last_wall_ns, at_ns)

    def _note_gone(self) -> None:
        """A record has come: what jobs had that ended before it is in its sums."""
        gone_uj, self.sums.gone_uj = self.sums.gone_uj, [0] * len(self.kept)
        self._gone_uj = list(map(add, self._gone_uj, gone_uj))

    def settle(self) -> None:
        """Put what rose up to the latest record into buckets."""
        record, before = self.latest, self._from
        if record is None or before is None or before is record:
            return
        whole = [
            (record.energy_uj[index] or 0) - (before.energy_uj[index] or 0) for index in range(len(record.energy_uj))
        ]
        times = [one.boottime_ns + self._offset_ns for one in (before, record)]
        self._add(record, times, whole)
        self._from = record

    def _note_missing(self, record: AgentRecord, at_ns: int) -> None:
        """Note for how long a channel had no readings since the record before; less than half a sample is none."""
        before = self.latest
        start_ns = self.header.wall_ns if before is None else before.boottime_ns + self._offset_ns
        for index, at in enumerate(self.kept):
            measured_ns = record.measured_ns[at] - (0 if before is None else before.measured_ns[at])
            missing_ns = at_ns - start_ns - measured_ns
            if missing_ns > self._interval_ns // 2:
                _Span(start_ns, at_ns).put_one(self.sums.missing[index], missing_ns)

    def _add(self, record: AgentRecord, times_ns: list[int], whole: Sequence[int | None]) -> None:
        """Put what rose between two times into buckets: that of the jobs in ``record``, and the rest of ``whole``."""
        sums, span = self.sums, _Span(*times_ns)
        rest = [(whole[at] or 0) - gone for at, gone in zip(self.kept, self._gone_uj, strict=True)]
        for job in record.jobs:
            account = self._account(job, times_ns[1])
            start_ns = min(max(times_ns[0], account.first_wall_ns), times_ns[1])
            own = span if start_ns == times_ns[0] else _Span(start_ns, times_ns[1])
            grown = self._grow(account, job, own)
            own.put(sums.energy, grown)
            rest = list(map(sub, rest, grown))
            account.last_wall_ns = max(account.last_wall_ns, times_ns[1])
        span.put(sums.rest, rest)
        span.put(sums.energy, rest)
        self._gone_uj = [0] * len(self.kept)

    def _grow(self, account: JobAccount, job: AgentJob, span: _Span) -> list[int]:
        """Put what a job had since into its buckets; how much that is by channel."""
        now = [job.energy_uj[at] for at in self.kept]
        if any(map(lt, now, account.taken)):
            now = list(map(max, now, account.taken))
        grown = list(map(sub, now, account.taken))
        span.put(account.by_bucket, grown)
        account.taken, account.latest = now, job
        self.changed.add(_name(job))
        return grown

    def _account(self, job: AgentJob, at_ns: int) -> JobAccount:
        name = _name(job)
        account = self.sums.jobs.get(name) or self._known(name, job)
        if account is None:
            # what it had at its first sample was drawn since the one before
            first_ns = job.first_ns + self._offset_ns - self._interval_ns
            first_ns = min(max(first_ns, self.header.wall_ns), at_ns)
            account = JobAccount(job, first_ns, at_ns, False, {}, [0] * len(self.kept))
        self.sums.jobs[name] = account
        return account


def _name(job: AgentJob) -> LifeName:
    return job.sluid or job.job_id or "", job.first_ns


def columns_of(rows: AmountRows, count: int) -> list[Amounts]:
    """The amounts of each of ``count`` channels by bucket."""
    return [{bucket: row[at] for bucket, row in rows.items()} for at in range(count)]


def rows_of_columns(columns: Sequence[Amounts]) -> AmountRows:
    """The reverse of ``columns_of``."""
    buckets = set[int]().union(*columns)
    return {bucket: [column.get(bucket, 0) for column in columns] for bucket in buckets}
