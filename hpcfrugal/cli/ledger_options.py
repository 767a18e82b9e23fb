"""Options by which a command is told which ledger to read: a file, a published one, or the site's."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from hpcfrugal.cli.options import ledger_option
from hpcfrugal.core.errors import InputError, Problem, SetupError
from hpcfrugal.settings.config import load_config


def ledger_choice(command: Callable[..., None]) -> Callable[..., None]:
    """``--ledger``, ``--published``, ``--account`` and ``--site``: which ledger to read, as ``ledger_path``; None where
    none is named."""

    @wraps(command)
    def with_ledger(ledger_path: Path | None, published: bool, account: str | None, site: bool, **options: Any) -> None:
        given = {"--ledger": ledger_path is not None, "--published": published, "--account": account is not None}
        named = [name for name, is_set in {**given, "--site": site}.items() if is_set]
        if len(named) > 1:
            raise InputError(Problem(name, f"cannot be combined with {named[0]}") for name in named[1:])
        if named and ledger_path is None:
            ledger_path = _of_site(named[0], account)
        command(ledger_path=ledger_path, **options)

    options = (
        click.option("--site", is_flag=True, help="The site's ledger, of all users (site.ledger), for operators."),
        click.option(
            "--account", metavar="NAME", help="The ledger of an account, which the site publishes to managers."
        ),
        click.option("--published", is_flag=True, help="The ledger of your jobs that the site publishes."),
        ledger_option,
    )
    found: Callable[..., None] = with_ledger
    for option in options:
        found = option(found)
    return found


def _of_site(option: str, account: str | None) -> Path:
    """The ledger that an option names. Raises InputError where the settings do not say where, SetupError where there
    is none."""
    from hpcfrugal.core.user import user_name
    from hpcfrugal.ledger.published_files import ledger_of

    site = load_config().site
    key, folder = ("site.ledger", site.ledger) if option == "--site" else ("site.published", site.published)
    if folder is None:
        raise InputError.at(option, f"needs {key} in the settings", "the site's operators set it")
    if option == "--site":
        if _is_closed(folder):
            raise SetupError(f"you may not read {folder}", hint="--published shows the ledger of your own jobs")
        return folder
    path = ledger_of(folder, user_name(), account)
    if not os.path.exists(path):
        whom = "managers of the account" if account is not None else "users with jobs"
        raise SetupError(f"there is no ledger {path}", hint=f"`hpcfrugal site publish` makes it for {whom}")
    return path


def _is_closed(path: Path) -> bool:
    """Whether it is there, as far as that can be seen, and this user may not read it."""
    try:
        os.stat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return not os.access(path, os.R_OK)
