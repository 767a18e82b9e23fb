"""``hpcfrugal plan``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcfrugal.backends.select import select
from hpcfrugal.cli.drawing import can_print, show_series
from hpcfrugal.config import BACKENDS, load_config
from hpcfrugal.jobspec import load_job
from hpcfrugal.options import sbatch_options
from hpcfrugal.planning.job_plan import plan_job
from hpcfrugal.planning.words import clock, grams, line, share, span
from hpcfrugal.text import printable

if TYPE_CHECKING:
    from hpcfrugal.planning.plan import Expectation, Plan


@click.command()
@click.argument("job", type=click.Path(path_type=Path), metavar="JOB")
@click.option("--backend", type=click.Choice(BACKENDS), help="Where it would run; by default Slurm wherever it is.")
@click.option("--refresh", is_flag=True, help="Ask for the forecast now, whatever is kept of the last answer.")
@click.option(
    "--prices", type=click.Path(path_type=Path), help="File of prices per kWh, to weigh against carbon (--json)."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, with the choices between carbon and delay."
)
def plan(job: Path, backend: str | None, refresh: bool, prices: Path | None, as_json: bool) -> None:
    """Show when a job would run, and why. Submits nothing.

    \b
    hpcfrugal plan job.yaml
    hpcfrugal plan --json job.yaml
    """
    config = load_config()
    spec = load_job(job)
    slurm = select(backend, config).name != "local"
    from hpcfrugal.planning.choices import choices, read_prices

    priced = read_prices(prices) if prices is not None else None
    queue, now = None, datetime.now(UTC)
    if slurm and spec.schedule.queue is not None:
        from hpcfrugal.queues.entry import Entrance

        entrance = Entrance(config)
        spec, queue = entrance.enter(spec, where=str(job))
    made = plan_job(
        spec,
        config,
        now=now,
        where=str(job),
        slurm=slurm,
        options=sbatch_options(spec),
        again=refresh,
    )
    if queue is not None:
        _, made = entrance.place(spec, queue, made, now, released=False)
    if as_json:
        click.echo(json.dumps(made.to_json() | {"choices": choices(made, priced)}, indent=2))
        return
    _show(made, slurm=slurm)


def _show(plan: Plan, *, slurm: bool) -> None:
    if plan.grid is not None:
        head = f"{plan.grid.series.zone}: {plan.signal} carbon intensity in g/kWh, forecast by {plan.grid.provider}"
        click.secho(printable(head), bold=True)
        show_series(plan.grid.series, plan.runs)
    click.secho(line(plan), bold=True)
    rows = [*_carbon(plan.expected), *_times(plan)]
    wide = max(len(name) for name, _ in rows)
    for name, text in rows:
        click.echo(f"  {name:{wide}}  {printable(text)}")
    if not slurm:
        click.echo("note: this machine starts jobs at once; only Slurm lets them wait")
    for note in plan.notes:
        click.echo(f"note: {printable(note)}")


def _carbon(expected: Expectation | None) -> list[tuple[str, str]]:
    if expected is None:
        return []
    rows = [
        ("at once", _amount(expected.now_g_per_kwh, expected.now_g)),
        ("as planned", _amount(expected.then_g_per_kwh, expected.then_g)),
    ]
    if expected.saving:
        low, high = expected.band
        rows.append(("saving", f"{share(expected.saving)} expected, {share(low)} to {share(high)} in 8 of 10 cases"))
    if expected.power_w is not None:
        pue = f", times a PUE of {expected.pue:g} in the grams" if expected.pue else ""
        rows.append(("power", f"{expected.power_w:.4g} W ({expected.power_source}){pue}"))
    return rows


def _amount(g_per_kwh: float, mass_g: float | None) -> str:
    text = f"{g_per_kwh:.0f} g/kWh"
    return text if mass_g is None else f"{text}, {grams(mass_g)} CO{'₂' if can_print('₂') else '2'}e"


def _times(plan: Plan) -> list[tuple[str, str]]:
    now = plan.decided_at
    rows = [("run time", f"{span(plan.duration)} ({plan.duration_source})")]
    wait = f"{span(plan.wait)} expected ({plan.wait_source})" if plan.wait is not None else "not known"
    rows.append(("wait in queue", wait))
    for start, end in plan.segments:
        rows.append(("segment", f"{clock(start, now)} to {clock(end, now)}"))
    if plan.begin_at is not None:
        rows.append(("given to Slurm", f"to begin at {clock(plan.begin_at, now)}"))
    if plan.latest_start_at is not None:
        rows.append(("latest start", clock(plan.latest_start_at, now)))
    if plan.deadline_at is not None:
        rows.append(("done by", clock(plan.deadline_at, now)))
    return rows
