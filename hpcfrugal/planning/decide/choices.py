"""Alternatives to a plan: the Pareto-optimal starts in carbon, delay and, if prices are given, cost; and the best of
them by weights of delay and cost.
"""

from __future__ import annotations

import csv
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from hpcfrugal.core.errors import DataError, InputError
from hpcfrugal.core.record import codec
from hpcfrugal.core.time import parse_iso
from hpcfrugal.planning.decide.plan import Plan
from hpcfrugal.planning.optimise.errors import NotCovered
from hpcfrugal.planning.optimise.pareto import Option, Prices, pareto_front

_LONGEST = 16 * 1024 * 1024


def choices(plan: Plan, prices: Prices | None = None) -> tuple[Option, ...]:
    """The Pareto front of starts from the soonest to the latest safe one, by delay.

    Empty without a forecast. Intensities are those of the forecast, not corrected for its error.
    """
    if plan.grid is None or plan.duration is None:
        return ()
    soonest = plan.counterfactual.start_at
    last = plan.latest_start_at or plan.grid.series.end - plan.duration
    try:
        return pareto_front(plan.grid.series, soonest, max(soonest, last) + plan.duration, plan.duration, prices)
    except NotCovered:
        return ()


def choice_json(plan: Plan, option: Option, prices: Prices | None = None) -> dict[str, Any]:
    """A start as JSON; grams and cost only if the power of the job is known."""
    kwh, per_kwh = plan.energy_kwh, option.mean_price_per_kwh
    return codec(Option).write(option) | {
        "grams": None if kwh is None else kwh * option.mean_g_per_kwh,
        "price": None if kwh is None or per_kwh is None else kwh * per_kwh,
        "currency": prices.currency if prices is not None else None,
    }


def read_prices(path: Path) -> Prices:
    """Prices from CSV with the columns ``start`` (ISO 8601 with offset), ``price_per_kwh`` and optional ``currency``.

    A price is valid until the next; the last one as long as the one before it. Raises InputError.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as opened:
            text = opened.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise ValueError(f"longer than {_LONGEST} characters")
        reader = csv.DictReader(text.splitlines())
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError.at(str(path), f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    starts: list[datetime] = []
    values: list[float] = []
    for number, row in rows:
        try:
            starts.append(parse_iso(row["start"] or ""))
            values.append(float(row["price_per_kwh"] or ""))
        except (KeyError, TypeError, ValueError):
            what = "needs a start with its UTC offset and a price_per_kwh"
            raise InputError.at(f"{path}:{number}", what) from None
    if len(starts) < 2:
        raise InputError.at(str(path), "needs at least two prices")
    steps = {after - before for before, after in pairwise(starts)}
    if len(steps) != 1:
        raise InputError.at(str(path), "needs prices at equal intervals")
    try:
        return Prices.from_values(starts[0], steps.pop(), values, currency=rows[0][1].get("currency") or "")
    except DataError as error:
        raise InputError.at(str(path), error.message) from None
