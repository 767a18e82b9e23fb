"""The report on Slurm's own energy: the verdict on each cluster, release and plugin, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpcfrugal.core.format import UNKNOWN, count
from hpcfrugal.core.units import compress_nodelist
from hpcfrugal.ledger.energy_audit import AuditedSetup
from hpcfrugal.report import notation
from hpcfrugal.report.field import Field, Rows, field, sheet, table, to_json
from hpcfrugal.report.period import Period
from hpcfrugal.report.view import Block, Json, Notes, Sheet, note

AUDIT_SCHEMA_VERSION = 1

_MEANT = {
    "measured": "jobs that had their nodes alone take Slurm's energy",
    "upper bound": "Slurm's energy is shown beside the model and does not count",
    "unusable": "Slurm's energy is not used",
}


def _ratio(one: AuditedSetup) -> float | None:
    return None if one.comparison is None else round(one.comparison.median, 4)


def _compared(one: AuditedSetup) -> int:
    return 0 if one.comparison is None else one.comparison.jobs


def _range(one: AuditedSetup) -> tuple[float, float] | None:
    return None if one.comparison is None else (round(one.comparison.low, 4), round(one.comparison.high, 4))


def _named(one: AuditedSetup, name: str) -> str | None:
    return None if one.setup is None else getattr(one.setup, name)


_RATIO: notation.Notation[float] = notation.Notation(notation.same, lambda ratio, _: f"{ratio:.2f}")
_RANGE: notation.Notation[tuple[float, float]] = notation.Notation(
    list, lambda ends, _: "–".join(f"{ratio:.2f}" for ratio in ends)
)

_FIELDS: tuple[Field[AuditedSetup], ...] = (
    field("cluster", notation.TEXT, lambda one: one.cluster, heading="Cluster", key=True),
    field("release", notation.WORD, lambda one: _named(one, "release"), heading="Slurm"),
    field("plugin", notation.WORD, lambda one: _named(one, "plugin"), heading="Plugin", missing="none"),
    field("jobs", notation.COUNT, lambda one: one.jobs, heading="Jobs"),
    field("measured", notation.COUNT, lambda one: one.uses["measured"], heading="Measured", drop=4),
    field("upper_bound", notation.COUNT, lambda one: one.uses["upper bound"], heading="Upper bound", drop=3),
    field("unusable", notation.COUNT, lambda one: one.uses["unusable"], heading="Unusable", drop=2),
    field("compared", notation.COUNT, _compared, heading="Compared"),
    field("ratio", _RATIO, _ratio, heading="Slurm / ours", missing="–"),
    field("ratio_range", _RANGE, _range, heading="5–95 %", missing="–", drop=1),
    field("compared_with", notation.PLAIN, lambda one: one.boundary),
    field("verdict", notation.WORD, lambda one: one.verdict, heading="Verdict"),
    field("reasons", notation.PLAIN, lambda one: one.reasons),
    field("nodes_left_out", notation.PLAIN, lambda one: one.left_out),
    field(
        "job_reasons", notation.PLAIN,
        lambda one: [{"use": use, "why": why, "jobs": number} for (use, why), number in one.whys.most_common()],
    ),
)  # fmt: skip


@dataclass(frozen=True)
class EnergyAuditReport:
    """The setups that were audited. ``kept``: the verdicts are in the spool now."""

    period: Period
    setups: Sequence[AuditedSetup]
    kept: bool

    def document(self) -> dict[str, Json]:
        """Each setup with its verdict, and the reasons of the jobs."""
        return {
            "schema": AUDIT_SCHEMA_VERSION,
            "period": self.period.document(),
            "kept": self.kept,
            "setups": [to_json(_FIELDS, one) for one in self.setups],
        }

    def sheet(self) -> Sheet:
        """Not offered."""
        return sheet(_FIELDS, self.setups)

    def blocks(self) -> Iterator[Block]:
        """A table of setups, and for each the verdict and why."""
        if not self.setups:
            yield Notes((note("No jobs of Slurm's accounting in this period: `hpcfrugal ledger import sacct`."),))
            return
        yield table(_FIELDS, [Rows(_FIELDS, self.setups)])
        for one in self.setups:
            yield Notes(tuple(note(text, role) for text, role in _lines(one)), apart=True)
        if not self.kept:
            yield Notes((note("Nothing has changed: `--keep` puts these verdicts in force."),), apart=True)


def _lines(one: AuditedSetup) -> Iterator[tuple[str, str]]:
    of = one.cluster if one.setup is None else f"{one.cluster}, Slurm {one.setup.release or UNKNOWN}"
    plugin = f", {one.setup.plugin}" if one.setup is not None and one.setup.plugin is not None else ""
    yield f"{of}{plugin}: {one.verdict} ({_MEANT[one.verdict]}).", "total"
    for reason in one.reasons:
        yield f"Why: {reason}.", ""
    if one.left_out:
        yield f"Left out, since their counters stand still: {compress_nodelist(one.left_out)}.", ""
    for (use, why), number in one.whys.most_common(6):
        yield f"{count(number, 'job')} {use}: {why}.", ""
