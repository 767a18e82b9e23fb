"""Options and arguments that several commands have, each defined once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.settings.config import BACKENDS, load_config

Command = TypeVar("Command", bound=Callable[..., Any])


class NumberRange(click.FloatRange):
    """A number within bounds. ``nan``, which is neither below nor above any bound, is refused too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read an option's text. Raises BadParameter."""
        number = float(super().convert(value, param, ctx))
        return number if not math.isnan(number) else self.fail(f"{value!r} is not a number.", param, ctx)


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


site_ledger = click.option(
    "--ledger",
    "ledger_path",
    type=FILE,
    default=lambda: load_config().site.ledger or load_config().ledger,
    help="The ledger.  [default: site.ledger of the settings, else yours]",
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
site_spool = click.option(
    "--spool",
    type=FILE,
    default=lambda: load_config().site.spool or load_config().spool,
    callback=_existing_spool,
    help="The spool.  [default: site.spool of the settings, else yours]",
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
