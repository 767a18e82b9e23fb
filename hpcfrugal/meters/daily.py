"""What meters read of nodes by day, whatever ran on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpcfrugal.core.errors import SourceError
from hpcfrugal.meters.base import Meter, Refusal
from hpcfrugal.meters.collect import MAX_SAMPLES
from hpcfrugal.meters.integrate import Curve, curve

_DAY_NS = 86_400 * 10**9


def curves_by_day(
    meter: Meter, nodes: Sequence[str], start_ns: int, end_ns: int, troubles: list[str]
) -> Iterator[tuple[str, tuple[int, int], Curve]]:
    """Each node with samples, the part of a UTC day, and the curve of its energy then.

    Where the meter does not answer, a sentence is added to ``troubles``, and it is not asked again.
    """
    terms = meter.terms
    for day_ns in range(start_ns - start_ns % _DAY_NS, end_ns, _DAY_NS):
        span = max(day_ns, start_ns), min(day_ns + _DAY_NS, end_ns)
        most = max(1, MAX_SAMPLES * terms.step_ns // (span[1] - span[0]))
        for at in range(0, len(nodes), most):
            try:
                answers = meter.fetch(nodes[at : at + most], span[0] - terms.max_gap_ns, span[1] + terms.max_gap_ns)
            except SourceError as error:
                troubles.append(f"meter {meter.name}: {error}")
                return
            for node, answer in answers.items():
                if isinstance(answer, Refusal):
                    troubles.append(f"meter {meter.name}: {node}: {answer.reason}")
                else:
                    yield node, span, curve(answer, terms)
