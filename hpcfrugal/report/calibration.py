"""The report on the calibration of the model: the factor of each class of nodes and jobs, and how far it is off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hpcfrugal.accounting.calibration import RANGE_JOBS
from hpcfrugal.core.format import count
from hpcfrugal.ledger.calibrating import CalibratedCluster
from hpcfrugal.report import notation
from hpcfrugal.report.field import Field, Rows, field, sheet, table, to_json
from hpcfrugal.report.period import Period
from hpcfrugal.report.view import Block, Json, Notes, Sheet, note
from hpcfrugal.spool.cluster_documents import CalibratedModel

CALIBRATION_SCHEMA_VERSION = 1


class _ModelOfCluster(NamedTuple):
    cluster: str
    model: CalibratedModel


def _range(one: _ModelOfCluster) -> tuple[int, int] | None:
    low, high = one.model.low_permille, one.model.high_permille
    return None if low is None or high is None else (low, high)


_FACTOR: notation.Notation[int] = notation.Notation(lambda ppm: ppm / 1e6, lambda ppm, _: f"{ppm / 1e6:.3f}")
_PERMILLE: notation.Notation[int] = notation.Notation(lambda part: part / 1000, lambda part, _: f"{part / 10:.0f} %")
_RANGE: notation.Notation[tuple[int, int]] = notation.Notation(
    lambda ends: [end / 1000 for end in ends], lambda ends, _: "–".join(f"{end / 1000:.2f}" for end in ends)
)
_FIELDS: tuple[Field[_ModelOfCluster], ...] = (
    field("cluster", notation.TEXT, lambda one: one.cluster, heading="Cluster", drop=2, key=True),
    field("nodes", notation.TEXT, lambda one: one.model.nodes, heading="Nodes"),
    field("component", notation.WORD, lambda one: one.model.component, heading="Component"),
    field("gpu_jobs", notation.PLAIN, lambda one: one.model.gpu),
    field("alone", notation.PLAIN, lambda one: one.model.alone),
    field(
        "jobs_of", notation.WORD,
        lambda one: f"{'with' if one.model.gpu else 'no'} GPUs, {'alone' if one.model.alone else 'sharing'}",
        json="", heading="Jobs", key=True,
    ),
    field("jobs", notation.COUNT, lambda one: one.model.jobs, heading="n"),
    field("factor", _FACTOR, lambda one: one.model.factor_ppm, heading="Factor"),
    field("held_out_error", _PERMILLE, lambda one: one.model.error_permille, heading="Held-out error", drop=1),
    field("range", _RANGE, _range, heading="90 % range", missing="of the model"),
)  # fmt: skip


@dataclass(frozen=True)
class CalibrationReport:
    """What was found of each cluster. ``kept``: the factors are in the spool now."""

    period: Period
    clusters: Sequence[CalibratedCluster]
    kept: bool

    @property
    def _models(self) -> list[_ModelOfCluster]:
        return [_ModelOfCluster(one.cluster, model) for one in self.clusters for model in one.models]

    def document(self) -> dict[str, Json]:
        """Each factor with its error and range."""
        return {
            "schema": CALIBRATION_SCHEMA_VERSION,
            "period": self.period.document(),
            "kept": self.kept,
            "measured_jobs": sum(one.jobs for one in self.clusters),
            "jobs_without_class": sum(one.unclassed for one in self.clusters),
            "models": [to_json(_FIELDS, one) for one in self._models],
        }

    def sheet(self) -> Sheet:
        """Not offered."""
        return sheet(_FIELDS, self._models)

    def blocks(self) -> Iterator[Block]:
        """A table of factors."""
        models = self._models
        if models:
            yield table(_FIELDS, [Rows(_FIELDS, models)])
        yield Notes(tuple(note(text) for text in self._notes()))

    def _notes(self) -> Iterator[str]:
        jobs, unclassed = (sum(getattr(one, name) for one in self.clusters) for name in ("jobs", "unclassed"))
        if not jobs:
            yield "No job of a minute or more was measured that Slurm's accounting has too: the model stays as it is."
            return
        if unclassed:
            yield f"Of {count(unclassed, 'job')} the class of nodes is not known: import jobs by asking Slurm itself."
        if self._models:
            yield (
                f"Measured over modelled energy, drawn towards 1 by 5 jobs; from {RANGE_JOBS} jobs on with a range of"
                " its own. Held-out error: by how much half of the jobs are off with the factor of all others."
            )
            if not self.kept:
                yield "Nothing has changed: `--keep` puts these factors in force."
