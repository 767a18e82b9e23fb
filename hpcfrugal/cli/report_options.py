"""Options of commands that report figures: the period, the format, the unit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, get_args

import click

from hpcfrugal.cli.options import Command
from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.format import EnergyUnit
from hpcfrugal.core.text import quoted_value
from hpcfrugal.report.formats import DATA_FORMATS, FORMATS, Format
from hpcfrugal.report.period import ALL_TIME, Period, is_month, period

_LAST = "30d"
_SINCE = f"2026-11-21, 2026-11, 7d, 24h, yesterday, monday, '2 weeks ago' or all; UTC.  [default: {_LAST}]"


def period_options(command: Command) -> Command:
    """``--since``, ``--until`` and ``--month``, which ``given_period`` reads."""
    for option in (
        click.option("--month", metavar="YYYY-MM", help="This month; the same as --since and --until with it."),
        click.option("--until", metavar="TIME", help="Up to this time, or to the end of this day or month; UTC."),
        click.option(
            "--since",
            metavar="TIME",
            help=_SINCE,
        ),
    ):
        command = option(command)
    return command


def given_period(since: str | None, until: str | None, month: str | None, *, everything: bool = False) -> Period:
    """The period of the options: by default the last 30 days, or with ``everything`` all time. Raises InputError."""
    if month is not None:
        if since is not None or until is not None:
            raise InputError.at("--month", "cannot be combined with --since and --until")
        with suppress(InputError):
            if is_month(month):
                return period(month, month)
        raise InputError.at("--month", f"invalid month {quoted_value(month, 40)}", "use a year and a month: 2026-11")
    if since is None:
        since = ALL_TIME if everything or until is not None else _LAST
    return period(since, until, prefix="--")


def _a_flag_each(formats: dict[str, Format]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A flag for each of these formats: ``form`` is its name, or None where none is given."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_form(**options: Any) -> None:
            named = [name for name in formats if options.pop(f"as_{name}")]
            if len(named) > 1:
                raise InputError(Problem(f"--{name}", f"cannot be combined with --{named[0]}") for name in named[1:])
            command(form=named[0] if named else None, **options)

        for name, known in reversed(formats.items()):
            with_form = click.option(f"--{name}", f"as_{name}", is_flag=True, help=known.help)(with_form)
        return with_form

    return decorate


format_options = _a_flag_each(FORMATS)
"""The formats of reports."""
data_format_options = _a_flag_each(DATA_FORMATS)
"""The formats of figures without a text."""


class _CaseInsensitive(click.Choice):  # type: ignore[type-arg]
    """One of some words in any case. Messages have them as they are written here."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        found = next((word for word in self.choices if word.lower() == str(value).lower()), None)
        if found is None:
            self.fail(f"{quoted_value(value, 40)} is none of {', '.join(self.choices)}", param, ctx)
        return str(found)


_UNIT = _CaseInsensitive(get_args(EnergyUnit))


def energy_unit_option(command: Command) -> Command:
    """``--unit`` as ``unit``, by default that of the settings."""
    return click.option(
        "--unit",
        type=_UNIT,
        help="Unit of energies in the text.  [default: that of the settings, else what fits]",
    )(command)
