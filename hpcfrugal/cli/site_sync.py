"""``hpcfrugal site sync``: the jobs of all users into the site's ledger."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import click

from hpcfrugal.api.agent_map import Executor, read_agents
from hpcfrugal.api.sync import TROUBLES_SHOWN
from hpcfrugal.cli.options import FILE, checked, json_option
from hpcfrugal.cli.streams import echo, echo_json, warn
from hpcfrugal.cli.sync import update, warn_of
from hpcfrugal.core.errors import InputError, Problem, SetupError
from hpcfrugal.core.format import count
from hpcfrugal.core.text import quoted_value
from hpcfrugal.settings.config import load_config
from hpcfrugal.spool.layout import USERS_DIR


def _pairs(given: Sequence[str]) -> dict[str, str]:
    """Raises ValueError where one is not NAME=VALUE."""
    pairs = [text.lstrip("-").partition("=") for text in given]
    if wrong := [text for text, (name, sign, _) in zip(given, pairs, strict=True) if not (name and sign)]:
        raise ValueError(f"{quoted_value(wrong[0], 60)} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


@click.command(name="sync")
@click.option("--spool", type=FILE, help="The site's spool.  [default: site.spool of the settings]")
@click.option("--ledger", type=FILE, help="The site's ledger.  [default: site.ledger of the settings]")
@click.option("--since", metavar="TIME", help="2026-11-21, 2026-11, 7d, 24h or 2w; UTC. Default: the last sync.")
@click.option("--offline", is_flag=True, help="Do not query carbon intensity providers.")
@click.option(
    "--executor",
    type=click.Choice(get_args(Executor)),
    help="Read the agents' files by several tasks: processes of this machine, or a job array of Slurm.",
)
@click.option("--tasks", type=click.IntRange(1, 1000), default=8, show_default=True, help="How many tasks, at most.")
@click.option(
    "--sbatch",
    "options",
    metavar="NAME=VALUE",
    multiple=True,
    callback=checked(_pairs),
    help="With --executor slurm, an option of sbatch: partition=short. Repeat it for several.",
)
@json_option()
def site_sync_command(
    spool: Path | None,
    ledger: Path | None,
    since: str | None,
    offline: bool,
    executor: Executor | None,
    tasks: int,
    options: dict[str, str],
    as_json: bool,
) -> None:
    """Fill the site's ledger with the jobs of all users. Safe at any time, and safe to repeat.

    Slurm is asked for the jobs of all users, day by day (UTC), since the last sync; the first one goes back 30 days.
    Then what is new in the files of the node agents and in the spools of users is read. A run of a user counts where
    Slurm has its job as that user's. Run it as root, or as a user whom Slurm shows all jobs and who may read the files.

    \b
    hpcfrugal site sync
    hpcfrugal report --site --by user

    With --executor, files of agents that are new are read by tasks, through submitit. Each leaves Parquet files in the
    site's spool, from which this process fills the ledger: the same rows as without. The nodes need the program and the
    spool at the same paths. Needs pyarrow: `pip install 'hpcfrugal[parquet]'`.

    Exits with 3 if Slurm did not answer. Then jobs that are new in Slurm are missing; all else is up to date.
    """
    from hpcfrugal.api.site_sync import sync_site
    from hpcfrugal.report.period import period

    config = load_config()
    spool, ledger = spool or config.site.spool, ledger or config.site.ledger
    given = {"--spool": spool, "--ledger": ledger}
    wrong = [
        Problem(option, "is missing", f"name it, or set site.{option[2:]} in the settings, which `site init` writes")
        for option, path in given.items()
        if path is None
    ]
    wrong += (
        [Problem("--spool", f"there is no directory {spool}", "make it by the hpcfrugal.conf of `site init`")]
        if spool is not None and not spool.is_dir()
        else []
    )
    wrong += [Problem("--since", "needs a time: sacct without one gives the jobs of today")] if since == "all" else []
    if wrong or spool is None or ledger is None:
        raise InputError(wrong)
    start = None if since is None else period(since, None, prefix="--").since
    user_spools = config.site.user_spools or spool.absolute() / USERS_DIR / "%u"
    if options and executor != "slurm":
        raise InputError.at("--sbatch", "needs --executor slurm")
    updating = update(config, spool, ledger, offline=offline)
    if executor is not None:
        read_agents(executor, tasks, options, spool, ledger, updating.messages)
    found = sync_site(updating, user_spools, start)
    for line in found.refused[:TROUBLES_SHOWN]:
        warn(line, 300)
    warn_of(found.result)
    if as_json:
        result = found.result
        echo_json(
            {
                "ledger": str(ledger),
                "days_asked": found.days,
                **asdict(found.agents),
                "users": list(found.users),
                "runs": result.runs,
                "runs_changed": result.runs_changed,
                "files_read": result.files_read,
                "runs_vanished": list(result.vanished),
                "files_vanished": list(result.vanished_files),
                "skipped": [*found.refused, *result.skipped],
                "problem_files": result.problem_files,
            }
        )
    else:
        days = "Slurm not asked" if found.days is None else f"{count(found.days, 'day')} of Slurm"
        users = f"{count(found.result.runs, 'run')} of {count(len(found.users), 'user')}"
        seen = found.agents
        echo(
            f"{days}, {count(seen.nodes, 'node')} with an agent, {users}; {count(found.result.files_read, 'file')} read"
        )
        echo(f"{count(seen.jobs, 'job')}, {seen.measured_jobs} of them measured by an agent")
        if seen.unknown_jobs:
            echo(f"seen by an agent and not known from Slurm: {count(seen.unknown_jobs, 'job')}")
    if found.days is None:
        sys.exit(SetupError.exit_code)
