"""``hpcfrugal forecast``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcfrugal.cli.drawing import show_series
from hpcfrugal.cli.options import OUTPUT_FILE, NumberRange, checked
from hpcfrugal.cli.report_options import data_format_options
from hpcfrugal.cli.streams import echo, echo_note, echo_wrapped
from hpcfrugal.core.errors import ForecastError, InputError
from hpcfrugal.core.format import timespan
from hpcfrugal.core.text import printable
from hpcfrugal.core.time import iso
from hpcfrugal.report.formats import rendered
from hpcfrugal.report.view import Sheet
from hpcfrugal.settings.config import load_config
from hpcfrugal.settings.values import name_of

if TYPE_CHECKING:
    from hpcfrugal.carbon.forecast import Forecast
    from hpcfrugal.carbon.listing import ListedProvider
    from hpcfrugal.carbon.series import CarbonSeries

_MARKS = {"ok": ("✓", "green"), "none": ("–", "yellow"), "wrong": ("✗", "red")}


@click.command(name="forecast")
@click.option(
    "--zone", callback=checked(name_of), help="Grid zone, such as FR or GB-13.  [default: that of the settings]"
)
@click.option("--provider", help="A kind of provider, or a name in the settings.  [default: by the zone]")
@click.option(
    "--signal",
    type=click.Choice(["average", "marginal"]),
    default="average",
    show_default=True,
    help="Which intensity.",
)
@click.option("--hours", type=NumberRange(0, 8784, min_open=True), default=48, show_default=True, help="How far ahead.")
@data_format_options
@click.option("--output", type=OUTPUT_FILE, help="Write JSON to this file, or CSV if its name ends in .csv.")
@click.option("--refresh", is_flag=True, help="Fetch now, even if the cached forecast is recent.")
@click.option("--list", "list_them", is_flag=True, help="Show the providers, their zones, and which have credentials.")
def forecast_command(
    zone: str | None, provider: str | None, signal: str, hours: float, form: str | None, output: Path | None,
    refresh: bool, list_them: bool,
) -> None:  # fmt: skip
    """Show the forecast of the grid's carbon intensity, or export it for a provider of kind file.

    Exits with 3 if there is no forecast.
    """
    if output is not None and form is None:
        form = "csv" if output.suffix.lower() == ".csv" else "json"
    config = load_config()
    if list_them:
        if form == "csv":
            raise InputError.at("--list", "there is no CSV of providers", "use --json, or a file name without .csv")
        from hpcfrugal.carbon.listing import listing

        lines = listing(config)
        if form == "json":
            _write(json.dumps({"providers": [asdict(line) for line in lines]}, indent=2), output)
        else:
            _show_list(lines)
        return
    from hpcfrugal.carbon.forecast import get_forecast
    from hpcfrugal.carbon.select import known_provider

    if provider is not None:
        known_provider(config, provider, where="--provider")
    now = datetime.now(UTC)
    end = now + timedelta(hours=hours)
    # A day more at both ends, so that the first and the last slot are complete.
    day = timedelta(days=1)
    found = get_forecast(
        config,
        zone,
        "marginal" if signal == "marginal" else "average",
        now - day,
        end + day,
        provider=provider,
        refresh=refresh,
    )
    series = _whole_slots(found.series, now, end)
    if form is None:
        _show(found, series, now)
        return
    _write(rendered(_ForecastReport(found, series), form).rstrip("\n"), output)
    if form != "json":
        for text in found.notes:
            echo_note(text)


def _whole_slots(series: CarbonSeries, now: datetime, end: datetime) -> CarbonSeries:
    """From the present slot to the one that contains ``end``. Raises ForecastError if all values are unknown."""
    slots = [slot for slot in series.slots() if slot.end > now and slot.start < end]
    if all(slot.g_per_kwh is None for slot in slots):
        raise ForecastError(f"the forecast has no values until {end:%Y-%m-%d %H:%M}Z")
    return series.slice(slots[0].start, slots[-1].end)


@dataclass(frozen=True, slots=True)
class _ForecastReport:
    """The slots of a forecast, for JSON and CSV."""

    forecast: Forecast
    series: CarbonSeries

    def document(self) -> dict[str, Any]:
        """The series, its source and its age."""
        found = self.forecast
        return self.series.to_json() | {
            "unit": "g/kWh",
            "provider": found.provider,
            "issued_at": iso(found.issued_at),
            "fetched_at": iso(found.fetched_at),
            "age_s": round(found.age.total_seconds(), 3),
            "stale": found.stale,
            "notes": list(found.notes),
        }

    def sheet(self) -> Sheet:
        """One row a slot."""
        series = self.series
        more = [series.zone, series.signal, series.kind, iso(series.issued_at) if series.issued_at else None]
        return Sheet(
            ("start", "end", "g_per_kwh", "zone", "signal", "kind", "issued_at"),
            [[iso(slot.start), iso(slot.end), slot.g_per_kwh, *more] for slot in series.slots()],
        )


def _write(text: str, output: Path | None) -> None:
    if output is None:
        echo(text)
        return
    from hpcfrugal.cli.output import write_result

    write_result(output, text)


def _show(found: Forecast, series: CarbonSeries, now: datetime) -> None:
    issued = f"issued {found.issued_at:%a %H:%M}Z, {timespan(found.age)} ago"
    head = f"{series.zone}: {series.signal} intensity in g/kWh, {found.provider}, {issued}"
    echo_wrapped(printable(head), bold=True)
    show_series(series)
    known = [slot for slot in series.slots() if slot.g_per_kwh is not None]
    low = min(known, key=lambda slot: slot.g_per_kwh or 0.0)
    high = max(known, key=lambda slot: slot.g_per_kwh or 0.0)
    current = series.at(now)
    echo_wrapped(
        f"now {'unknown' if current is None else f'{current:.0f}'}"
        f", lowest {low.g_per_kwh:.0f} at {low.start:%a %H:%M}Z, highest {high.g_per_kwh:.0f} at {high.start:%a %H:%M}Z"
    )
    if series.has_gaps:
        echo("? unknown")
    for text in found.notes:
        echo_wrapped(printable(text), f"{click.style('note:', fg='yellow')} ")


def _show_list(lines: Sequence[ListedProvider]) -> None:
    for line in lines:
        mark, colour = _MARKS[line.state]
        facts = "; ".join((line.about, " and ".join(line.offers), " and ".join(line.signals)))
        echo_wrapped(printable(f"{line.name}: {facts}"), f"{click.style(mark, fg=colour)} ")
        for name, text in (("zones", line.zones), ("credentials", line.credentials)):
            if text:
                echo_wrapped(printable(text), f"    {name}: ")
