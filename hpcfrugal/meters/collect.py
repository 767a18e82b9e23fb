"""Fetches the samples of finished jobs from the configured meters and stores them in the spool.

The samples of a job on a node are requested until they reach the end of the job, but not longer than ``settle`` after
it. Then those that exist are stored, or the fact that there are none. If a meter does not answer, the next sync tries
again. Jobs that ended more than ``LOOK_BACK_NS`` ago are skipped, since meters keep samples for a few weeks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from hpcfrugal.core.errors import SourceError, Unreachable
from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.meters.base import SECOND_NS, Meter, Refusal, Terms, node_matcher
from hpcfrugal.meters.integrate import Curve, curve, reaches
from hpcfrugal.meters.record import JobOnNode, lines_of
from hpcfrugal.spool import JobKey, RunDir, iter_runs, mark_changed, write_atomic
from hpcfrugal.spool.documents import read_end, read_slurm, read_submitted
from hpcfrugal.spool.sample_header import SampledNode
from hpcfrugal.spool.sample_record import MAX_SESSION_NS
from hpcfrugal.spool.samples import read_samples
from hpcfrugal.spool.sidecar_session import SidecarSession

_D = TypeVar("_D")

LOOK_BACK_NS = 30 * 86_400 * SECOND_NS

GROUP_NS = 3600 * SECOND_NS
"""Jobs that begin and end within this time share one request."""

MAX_SAMPLES = 500_000
"""Samples in memory at once, about 200 MB with the derived data, unless one node alone has more."""

_MOST_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Collected:
    """Numbers of files written and of files that wait for samples, and a sentence for each problem."""

    written: int
    pending: int
    troubles: tuple[str, ...]


def collect(spool_root: Path, meters: Sequence[Meter], now_ns: int) -> Collected:
    """Fetch what is due from every meter. Failures of meters become ``troubles``."""
    attempts = list(_attempts(spool_root, now_ns))
    written = pending = 0
    troubles: list[str] = []
    for meter in meters:
        covers = node_matcher(meter.nodes)
        due = [
            _Due(attempt.run, part)
            for attempt in attempts
            for part in attempt.parts
            if covers(part.node) and meter.cluster in (None, part.cluster) and not attempt.has(part, meter)
        ]
        failed = 0
        for group in _batches(_groups(due), meter.terms):
            try:
                done, waiting = _one(meter, group, now_ns, troubles)
            except (SourceError, OSError) as error:
                troubles.append(f"meter {meter.name}: {error}; the next sync tries again")
                failed += 1
                # One request that always fails must not hold up all others.
                if not isinstance(error, SourceError) or isinstance(error, Unreachable) or failed == _MOST_FAILURES:
                    break
                continue
            written += done
            pending += waiting
    return Collected(written, pending, tuple(dict.fromkeys(troubles)))


@dataclass(frozen=True, slots=True)
class _Due:
    """A job and node to ask a meter about, and where the answer goes."""

    run: RunDir
    part: JobOnNode


def _groups(due: Sequence[_Due]) -> Iterator[list[_Due]]:
    """Those that share a request: with equal times, or all within ``GROUP_NS``, such as array tasks."""
    group: list[_Due] = []
    for one in sorted(due, key=lambda one: (one.part.start_ns, one.part.end_ns)):
        if group:
            first, last_ns = group[0].part, max(other.part.end_ns for other in group)
            same = (one.part.start_ns, one.part.end_ns) == (first.start_ns, first.end_ns)
            if not same and max(one.part.end_ns, last_ns) - first.start_ns > GROUP_NS:
                yield group
                group = []
        group.append(one)
    if group:
        yield group


def _batches(groups: Iterable[list[_Due]], terms: Terms) -> Iterator[list[_Due]]:
    """Groups, split by nodes if their samples would not fit into memory."""
    for group in groups:
        span_ns = max(one.part.end_ns for one in group) - group[0].part.start_ns
        nodes = sorted({one.part.node for one in group})
        most = max(1, MAX_SAMPLES * terms.step_ns // span_ns)
        for at in range(0, len(nodes), most):
            some = set(nodes[at : at + most])
            yield [one for one in group if one.part.node in some]


def _one(meter: Meter, group: Sequence[_Due], now_ns: int, troubles: list[str]) -> tuple[int, int]:
    """One request to a meter. Returns the numbers of files written and pending. Raises ``SourceError``."""
    terms = meter.terms
    start_ns = min(one.part.start_ns for one in group)
    end_ns = max(one.part.end_ns for one in group)
    nodes = sorted({one.part.node for one in group})
    # Includes a sample before and after, so that both ends can be interpolated.
    answers = meter.fetch(nodes, start_ns - terms.max_gap_ns, end_ns + terms.max_gap_ns)
    curves = {node: curve(answer, terms) for node, answer in answers.items() if not isinstance(answer, Refusal)}
    written = pending = 0
    for one in group:
        part = one.part
        answer, found = answers.get(part.node), curves.get(part.node)
        if isinstance(answer, Refusal):
            troubles.append(f"meter {meter.name}: {part.node}: {answer.reason}")
            continue
        if (found is None or not reaches(found, part.end_ns)) and now_ns < part.end_ns + terms.settle_ns:
            pending += 1
            continue
        known = found is not None and found.at(part.end_ns).measured_ns > found.at(part.start_ns).measured_ns
        _write(one.run, meter, part, found if known else None)
        written += 1
    return written, pending


def _write(run: RunDir, meter: Meter, part: JobOnNode, found: Curve | None) -> None:
    absent = None if found is not None else f"{meter.source} has no samples of this node while the job ran"
    part = replace(part, sampled=_sampled(run, part))
    path = run.meter(part.job.job_id, part.job.restart, part.node, meter.name)
    write_atomic(path, lines_of(part, meter, found, absent))
    mark_changed(path.parent)


def _sampled(run: RunDir, part: JobOnNode) -> tuple[SidecarSession, ...]:
    """The sidecar's sessions on the node; none if the file cannot be used."""
    try:
        path = run.samples(part.job.job_id, part.job.restart, part.node)
        sampled = SampledNode(run.run_id, part.job, part.node)
        return read_samples(path, os.lstat(run.path).st_uid, sampled).sessions
    except (UnsafeFile, OSError, ValueError):
        return ()  # the ledger reports the reason


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One finished attempt of a job, with the file names in its run directory."""

    run: RunDir
    parts: tuple[JobOnNode, ...]
    names: frozenset[str]

    def has(self, part: JobOnNode, meter: Meter) -> bool:
        """Whether the meter's answer is already stored, or its file name would be invalid."""
        try:
            path = self.run.meter(part.job.job_id, part.job.restart, part.node, meter.name)
        except ValueError:
            return True
        return path.name in self.names


def _attempts(spool_root: Path, now_ns: int) -> Iterator[_Attempt]:
    """Attempts of the user's own jobs that ended recently."""
    for run in iter_runs(spool_root):
        try:
            if os.lstat(run.path).st_uid != os.getuid():
                continue
            listed = run.names()
        except OSError:
            continue  # the sync that follows reports it
        names = frozenset(name for name, _ in listed)
        jobs: dict[JobKey, set[str]] = {}
        for _, parsed in listed:
            if parsed is not None and parsed.job is not None and parsed.kind in ("end", "slurm", "samples"):
                nodes = jobs.setdefault(parsed.job, set())
                if parsed.node is not None:
                    nodes.add(parsed.node)
        for job in sorted(jobs, key=lambda job: job.sort_key):
            attempt = _attempt(run, job, jobs[job], names, now_ns)
            if attempt is not None:
                yield attempt


def _attempt(run: RunDir, job: JobKey, nodes: set[str], names: frozenset[str], now_ns: int) -> _Attempt | None:
    slurm_path, end_path = run.slurm_json(job.job_id, job.restart), run.end_json(job.job_id, job.restart)
    paths = [path for path in (slurm_path, end_path) if path.name in names]
    try:
        newest_ns = max((path.stat().st_mtime_ns for path in paths), default=0)
        if newest_ns < now_ns - LOOK_BACK_NS:
            return None  # Not even read: most files of a spool are old.
        slurm = _read(read_slurm, slurm_path, job) if slurm_path in paths else None
        end = _read(read_end, end_path, job) if end_path in paths else None
    except OSError:
        return None
    if slurm is not None and not slurm.final:
        return None
    span = _span(slurm.start_wall_ns, slurm.end_wall_ns) if slurm is not None else None
    if span is None and end is not None:
        span = _span(end.started_wall_ns, end.ended_wall_ns)
    if span is None or span[1] < now_ns - LOOK_BACK_NS:
        return None
    cluster = (slurm.cluster or None) if slurm is not None else None
    if cluster is None and run.submitted_json.name in names:
        submitted = _read(lambda path, uid, _: read_submitted(path, uid), run.submitted_json, job)
        cluster = submitted.cluster if submitted is not None else None
    held = sorted({*nodes, *(slurm.nodes if slurm is not None else ())})
    parts = tuple(JobOnNode(run.run_id, job, node, *span, cluster=cluster) for node in held)
    return _Attempt(run, parts, names)


def _span(start_ns: int | None, end_ns: int | None) -> tuple[int, int] | None:
    """Start and end if both are known and plausible (a wrong clock may put years between them)."""
    if start_ns is None or end_ns is None or not 0 < end_ns - start_ns <= MAX_SESSION_NS:
        return None
    return start_ns, end_ns


def _read(reader: Callable[[Path, int, JobKey], tuple[_D, object, object]], path: Path, job: JobKey) -> _D | None:
    """A document of the user; None if it cannot be used. The ledger reports why."""
    try:
        return reader(path, os.getuid(), job)[0]
    except UnsafeFile:
        return None
