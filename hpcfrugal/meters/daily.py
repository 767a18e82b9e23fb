"""What meters read of nodes by day, whatever ran on them: kept in the spool once a day is over, so asked for once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from hpcfrugal.accounting.series import CumulativeSeries, differences
from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.meters.base import Meter, Refusal
from hpcfrugal.meters.collect import MAX_SAMPLES
from hpcfrugal.meters.integrate import Curve, curve
from hpcfrugal.spool.meter_days import METER_STEP_NS, METER_STEPS, MeterDay, MeteredNode

_DAY_NS = METER_STEPS * METER_STEP_NS
_EDGES_NS = tuple(range(0, _DAY_NS + 1, METER_STEP_NS))


@dataclass(frozen=True, slots=True)
class DailyReadings:
    """What meters read by day, in ``spool_root`` or by a request.

    Of a day that is over, with the time in which its last samples may arrive, what a meter answered is kept, also that
    it had no readings of a node; with ``refresh`` it is asked again. ``now_ns`` is the time now. Sentences about what
    did not work are added to ``troubles``.
    """

    spool_root: Path
    now_ns: int
    refresh: bool
    troubles: list[str]

    def of(self, meter: Meter, nodes: Sequence[str], first_ns: int, until_ns: int) -> Iterator[tuple[int, MeteredNode]]:
        """The start of each UTC day from ``first_ns`` on with each of the nodes that the meter has.

        Where a meter does not answer, it is not asked about later days.
        """
        answers = True
        for day_ns in range(first_ns - first_ns % _DAY_NS, until_ns, _DAY_NS):
            found, may_keep = self._kept(meter, day_ns)
            known = set() if self.refresh else {one.node for one in found.nodes}
            wanted = known.intersection(nodes)
            yield from ((day_ns, one) for one in found.nodes if one.node in wanted)
            missing = [node for node in nodes if node not in known]
            most = max(1, MAX_SAMPLES * meter.terms.step_ns // _DAY_NS)
            for at in range(0, len(missing) if answers else 0, most):
                try:
                    asked = list(self._asked(meter, missing[at : at + most], day_ns))
                except SourceError as error:
                    self._note(meter, str(error))
                    answers = False
                    break
                if may_keep:
                    found, may_keep = self._keep(meter, found, asked)
                yield from ((day_ns, one) for one in asked)

    def _kept(self, meter: Meter, day_ns: int) -> tuple[MeterDay, bool]:
        """The nodes of a day in the spool, and whether more can be kept there."""
        found = MeterDay.on(meter.name, meter.detail, day_ns)
        try:
            found = found.kept(self.spool_root)
        except UnsafeFile as error:
            self._note(meter, f"{found.path(self.spool_root)} {error}, so its readings count only where it is asked")
            return found, False
        return found, self.now_ns >= day_ns + _DAY_NS + meter.terms.settle_ns

    def _keep(self, meter: Meter, found: MeterDay, asked: Sequence[MeteredNode]) -> tuple[MeterDay, bool]:
        try:
            return found.keep(self.spool_root, asked), True
        except OSError as error:
            self._note(meter, f"readings cannot be kept, so it is asked each time: {error.filename}: {error.strerror}")
            return found, False

    def _asked(self, meter: Meter, nodes: Sequence[str], day_ns: int) -> Iterator[MeteredNode]:
        """The nodes that are not refused. Raises ``SourceError``."""
        terms = meter.terms
        until_ns = min(day_ns + _DAY_NS, self.now_ns)
        answers = meter.fetch(nodes, day_ns - terms.max_gap_ns, until_ns + terms.max_gap_ns)
        for node in nodes:
            answer = answers.get(node)
            if isinstance(answer, Refusal):
                self._note(meter, f"{node}: {answer.reason}")
            else:
                yield MeteredNode(node) if answer is None else _stepped(node, curve(answer, terms), day_ns)

    def _note(self, meter: Meter, what: str) -> None:
        if (line := f"meter {meter.name}: {what}") not in self.troubles:
            self.troubles.append(line)


def _stepped(node: str, found: Curve, day_ns: int) -> MeteredNode:
    """A curve by the steps of a day."""
    readings = [found.at(day_ns + at * METER_STEP_NS) for at in range(METER_STEPS + 1)]
    first = readings[0]
    if readings[-1].measured_ns == first.measured_ns:
        return MeteredNode(node)
    energy_uj = differences([one.energy_uj_since(first) for one in readings])
    gap_ns = [METER_STEP_NS - rise_ns for rise_ns in differences([one.measured_ns for one in readings])]
    return MeteredNode(node, tuple(energy_uj), tuple(gap_ns))


def read_between(one: MeteredNode, start_ns: int, end_ns: int) -> tuple[int, int]:
    """Microjoules, and ns with readings, from one time of the day to another, both in ns since it began.

    A step of which there is a part is divided by time.
    """
    if not one.energy_uj:
        return 0, 0
    energy_uj, measured_ns = (
        CumulativeSeries(_EDGES_NS, tuple(accumulate(rises, initial=0)))
        for rises in (one.energy_uj, (METER_STEP_NS - gap_ns for gap_ns in one.gap_ns))
    )
    return energy_uj.between(start_ns, end_ns), measured_ns.between(start_ns, end_ns)
