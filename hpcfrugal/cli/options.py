"""Options and arguments that several commands have, each defined once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from click.core import ParameterSource

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.format import EnergyUnit
from hpcfrugal.core.text import quoted_value
from hpcfrugal.report.formats import DATA_FORMATS, FORMATS, Format
from hpcfrugal.report.period import ALL_TIME, Period, is_month, period
from hpcfrugal.settings.config import BACKENDS, load_config

Command = TypeVar("Command", bound=Callable[..., Any])

_LAST = "30d"
_SINCE = f"2026-11-21, 2026-11, 7d, 24h, yesterday, monday, '2 weeks ago' or all; UTC.  [default: {_LAST}]"

FILE = click.Path(path_type=Path)
OUTPUT_FILE = click.Path(path_type=Path, dir_okay=False)


def json_option(text: str = "Print JSON.") -> Callable[[Command], Command]:
    """``--json`` as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help=text)


_LEDGER = "The ledger, in place of the configured one."
ledger_option = click.option("--ledger", "ledger_path", type=FILE, help=_LEDGER)
configured_ledger = click.option(
    "--ledger", "ledger_path", type=FILE, default=lambda: load_config().ledger, help=_LEDGER
)


def _existing_spool(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """A spool that was named has to be there; the configured one is made by the first submission."""
    if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE and not value.is_dir():
        raise click.BadParameter(f"there is no directory {value}")
    return value


configured_spool = click.option(
    "--spool",
    type=FILE,
    default=lambda: load_config().spool,
    callback=_existing_spool,
    help="The spool, in place of the configured one.",
)
backend_option = click.option(
    "--backend", type=click.Choice(BACKENDS), help="Where to run.  [default: Slurm if sbatch is found]"
)


def checked(read: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback of an option: its value as ``read`` takes it, whose ValueError is the error of the option."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        try:
            return None if value is None else read(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


def job_ids(required: bool) -> Callable[[Command], Command]:
    """Arguments that name submitted jobs, as ``jobs``."""
    return click.argument("jobs", nargs=-1, required=required, metavar="JOB..." if required else "[JOB]...")


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


def energy_unit_option(command: Command) -> Command:
    """``--unit`` as ``unit``, by default that of the settings."""
    return click.option(
        "--unit",
        type=click.Choice(get_args(EnergyUnit), case_sensitive=False),
        metavar="[J|Wh|kWh|MWh|auto]",
        help="Unit of energies in the text.  [default: that of the settings, else what fits]",
    )(command)


def tag_option(text: str) -> Callable[[Command], Command]:
    """``--tag KEY=VALUE``, repeatable, as ``tags``."""
    return click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help=text)


def split_tags(tags: Sequence[str], where: str) -> list[tuple[str, str]]:
    """KEY and VALUE of each text. Raises InputError that names ``where`` and every text without them."""
    pairs = [tag.partition("=") for tag in tags]
    wrong = [tag for tag, (key, equals, _) in zip(tags, pairs, strict=True) if not key or not equals]
    if wrong:
        raise InputError(Problem(where, f"{tag[:40]!r} is not KEY=VALUE, such as phase=training") for tag in wrong)
    return [(key, value) for key, _, value in pairs]


def check_exclusive(option: str, given: dict[str, bool]) -> None:
    """Raises InputError if any of the options in ``given`` is set: none can be combined with ``option``."""
    wrong = [Problem(other, f"cannot be combined with {option}") for other, is_set in given.items() if is_set]
    if wrong:
        raise InputError(wrong)
