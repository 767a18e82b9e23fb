"""``hpcfrugal plan``."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcfrugal.cli.drawing import show_series
from hpcfrugal.cli.options import FILE, backend_option, checked, json_option
from hpcfrugal.cli.streams import echo_json, echo_wrapped
from hpcfrugal.core.format import mass, point_in_time, power, rough_percent, timespan
from hpcfrugal.core.text import printable
from hpcfrugal.job import load_job, naming_lines
from hpcfrugal.planning.decide.wording import line
from hpcfrugal.settings.config import load_config
from hpcfrugal.submission import Submission, preview
from hpcfrugal.submission.backends import select_backend

if TYPE_CHECKING:
    from hpcfrugal.planning.decide.plan import Expectation, Plan


def _weight(value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{value:g} is not a valid weight; it must be a number of 0 or more.")
    return value


@click.command(name="plan")
@click.argument("job", type=FILE, metavar="JOB")
@backend_option
@click.option("--refresh", is_flag=True, help="Fetch the forecast now, even if the cached one is recent.")
@click.option("--prices", type=FILE, help="File of prices per kWh, to weigh against carbon (--json).")
@click.option(
    "--delay-weight",
    type=float,
    callback=checked(_weight),
    metavar="G_PER_KWH",
    help="Show the best start if an hour of delay counts as much as this many g/kWh.",
)
@click.option(
    "--price-weight",
    type=float,
    callback=checked(_weight),
    metavar="GRAMS",
    help="Show the best start if a unit of money counts as much as this many grams; needs --prices.",
)
@json_option("Print one JSON object, with the choices between carbon and delay.")
def plan_command(
    job: Path, backend: str | None, refresh: bool, prices: Path | None, delay_weight: float | None,
    price_weight: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Show when a job would run, and why. Submits nothing.

    The weights do not change the plan: they show one of the alternatives.

    \b
    hpcfrugal plan job.yaml
    hpcfrugal plan --json job.yaml
    hpcfrugal plan --delay-weight 5 job.yaml
    """
    if price_weight is not None and prices is None:
        raise click.UsageError("--price-weight needs --prices.")
    config = load_config()
    spec = load_job(job)
    submission = Submission(select_backend(backend, config), config)
    from hpcfrugal.planning.decide.choices import choice_json, choices, read_prices
    from hpcfrugal.planning.optimise.pareto import choose

    priced = read_prices(prices) if prices is not None else None
    with naming_lines(job):
        made = preview(spec, job, submission, datetime.now(UTC), refresh=refresh)
    weighs = delay_weight is not None or price_weight is not None
    front = choices(made, priced) if as_json or weighs else ()
    choice = None
    if weighs and front:
        best = choose(front, g_per_kwh_per_hour=delay_weight or 0.0, g_per_kwh_per_price=price_weight or 0.0)
        choice = choice_json(made, best, priced)
    if as_json:
        listed = [choice_json(made, option, priced) for option in front]
        if choice is not None:
            choice |= {"delay_weight": delay_weight, "price_weight": price_weight}
        echo_json(made.to_json() | {"choices": listed, "choice": choice})
        return
    _show(made, choice, earliest=spec.schedule.earliest)


def _show(plan: Plan, choice: dict[str, Any] | None, *, earliest: datetime | None) -> None:
    if plan.grid is not None:
        head = f"{plan.grid.series.zone}: {plan.signal} carbon intensity in g/kWh, forecast by {plan.grid.provider}"
        echo_wrapped(printable(head), bold=True)
        show_series(plan.grid.series, [(run.start_at, run.end_at) for run in plan.runs])
    echo_wrapped(line(plan), bold=True)
    rows = [*_carbon(plan.expected), *_times(plan, earliest), *_by_weight(plan, choice)]
    wide = max(len(name) for name, _ in rows)
    for name, text in rows:
        echo_wrapped(printable(text), f"  {name:{wide}}  ")
    for note in plan.notes:
        echo_wrapped(printable(note), "note: ")


def _carbon(expected: Expectation | None) -> list[tuple[str, str]]:
    if expected is None:
        return []
    rows = [
        ("if started now", _amount(expected.now_g_per_kwh, expected.now_g)),
        ("as planned", _amount(expected.then_g_per_kwh, expected.then_g)),
    ]
    if expected.saving:
        low, high = expected.band
        band = f"{rough_percent(low)} to {rough_percent(high)} in 8 of 10 cases"
        rows.append(("saving", f"{rough_percent(expected.saving)} expected, {band}"))
    if expected.power_w is not None:
        pue = f", times a PUE of {expected.pue:g} in the grams" if expected.pue else ""
        rows.append(("power", f"{power(expected.power_w)} ({expected.power_source}){pue}"))
    return rows


def _by_weight(plan: Plan, choice: dict[str, Any] | None) -> list[tuple[str, str]]:
    if choice is None:
        return []
    start = point_in_time(datetime.fromisoformat(choice["start_at"]), plan.decided_at)
    delay = timedelta(seconds=choice["delay_s"])
    later = f"{timespan(delay)} later than now" if delay else "now"
    return [("by weight", f"{start}, {later}: {_amount(choice['g_per_kwh'], choice['grams'])} by the forecast")]


def _amount(g_per_kwh: float, mass_g: float | None) -> str:
    text = f"{g_per_kwh:.0f} g/kWh"
    return text if mass_g is None else f"{text}, {mass(mass_g)} CO2e"


def _times(plan: Plan, earliest: datetime | None) -> list[tuple[str, str]]:
    now = plan.decided_at
    rows = [("run time", f"{timespan(plan.duration)} ({plan.duration_source})")]
    wait = plan.wait
    known = f"{timespan(wait.expected)} expected ({wait.source})" if wait.expected is not None else "unknown"
    rows.append(("wait in queue", known))
    rows += [
        ("segment", f"{point_in_time(one.start_at, now)} to {point_in_time(one.end_at, now)}") for one in plan.segments
    ]
    if plan.begin_at is not None:
        rows.append(("begin time", point_in_time(plan.begin_at, now)))
    if earliest is not None:
        rows.append(("earliest start", point_in_time(earliest, now)))
    if plan.latest_start_at is not None:
        rows.append(("latest start", point_in_time(plan.latest_start_at, now)))
    if plan.deadline_at is not None:
        rows.append(("latest end", point_in_time(plan.deadline_at, now)))
    return rows
