"""Options and arguments that several commands have, each defined once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.report.formats import FORMATS
from hpcfrugal.settings.config import BACKENDS

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)
OUTPUT_FILE = click.Path(path_type=Path, dir_okay=False)


def json_option(text: str = "Print JSON.") -> Callable[[Command], Command]:
    """``--json`` as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help=text)


ledger_option = click.option("--ledger", "ledger_path", type=FILE, help="The ledger, in place of the configured one.")
spool_option = click.option("--spool", "spool_path", type=FILE, help="The spool, in place of the configured one.")
backend_option = click.option(
    "--backend", type=click.Choice(BACKENDS), help="Where to run.  [default: Slurm where sbatch is found]"
)


def job_ids(required: bool) -> Callable[[Command], Command]:
    """Arguments that name submitted jobs, as ``jobs``."""
    return click.argument("jobs", nargs=-1, required=required, metavar="JOB..." if required else "[JOB]...")


def period_options(command: Command) -> Command:
    """``--since``, ``--until`` and ``--month``; ``report.period.period`` reads them."""
    for option in (
        click.option("--month", metavar="YYYY-MM", help="That month: the same as --since and --until with it."),
        click.option("--until", metavar="TIME", help="Up to that time, or to the end of that day or month; UTC."),
        click.option("--since", metavar="TIME", help="2026-11-21, 2026-11, 7d, 24h, 2w or 'all'; UTC. Default: 30d."),
    ):
        command = option(command)
    return command


def format_options(command: Callable[..., None]) -> Callable[..., None]:
    """A flag for each output format of reports: ``form`` is its name, or None for text."""

    @wraps(command)
    def with_form(**options: Any) -> None:
        named = [name for name in FORMATS if options.pop(f"as_{name}")]
        if len(named) > 1:
            raise InputError(Problem(f"--{name}", f"cannot be combined with --{named[0]}") for name in named[1:])
        command(form=named[0] if named else None, **options)

    for name, (_, text) in reversed(FORMATS.items()):
        with_form = click.option(f"--{name}", f"as_{name}", is_flag=True, help=text)(with_form)
    return with_form


def refuse_beside(option: str, given: dict[str, bool]) -> None:
    """Raise InputError that names each option of ``given`` which cannot be combined with ``option``."""
    wrong = [Problem(other, f"cannot be combined with {option}") for other, there in given.items() if there]
    if wrong:
        raise InputError(wrong)
