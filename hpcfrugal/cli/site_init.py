"""``hpcfrugal site init``: the site's settings file, the files that nodes need, and a checklist."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import click

from hpcfrugal.cli.options import FILE
from hpcfrugal.cli.site_agent import agent_options, gid_of
from hpcfrugal.cli.streams import echo
from hpcfrugal.core.errors import InputError, Problem, SetupError
from hpcfrugal.core.text import plain
from hpcfrugal.settings.config import SITE_DIR, load_config
from hpcfrugal.spool.layout import AGENTS_DIR, LEDGER_DIR, PUBLISHED_DIR, USERS_DIR

if TYPE_CHECKING:
    from hpcfrugal.spool.agent_records import AgentHeader

_SPOOL = Path("/shared/hpcfrugal")
_OPERATORS = "root"
_NODE_FILES = "nodes"
_UNIT = "hpcfrugal-agent.service"
_TMPFILES = "hpcfrugal.conf"


@click.command(name="init")
@click.option(
    "-o", "--output", type=FILE, help=f"Where to write; - prints the settings.  [default: {SITE_DIR}/config.toml]"
)
@click.option("--spool", type=FILE, help=f"The site's spool, which all nodes see.  [default: site.spool, or {_SPOOL}]")
@click.option(
    "--operators",
    metavar="GROUP",
    help=f"Group that may read the energy of all jobs.  [default: site.operators, or {_OPERATORS}]",
)
def site_init_command(output: Path | None, spool: Path | None, operators: str | None) -> None:
    """Write the site's settings from what Slurm has of the cluster, with each guess marked, and print a checklist.

    Beside the settings, in the folder nodes, are the files that compute nodes need: the unit of the node agent, the
    directories of the spool, and the rule that opens RAPL to all users. No file is overwritten.

    \b
    hpcfrugal site init -o -     print the settings, write nothing
    hpcfrugal site init --spool /shared/hpcfrugal --operators hpc-staff
    """
    from hpcfrugal.cli.site_file import SiteFacts, site_file
    from hpcfrugal.cli.unit import agent_unit
    from hpcfrugal.sidecar.sensors.rapl_powercap import RULE, RULE_FILE
    from hpcfrugal.slurm.client import slurm_client
    from hpcfrugal.slurm.cluster import ClusterRequest
    from hpcfrugal.slurm.nodes import HardwareRequest

    to_stdout = str(output) == "-"
    path = (output or SITE_DIR / "config.toml").absolute()
    rules = PurePath(RULE_FILE).name
    beside = [path.parent / _NODE_FILES / name for name in (_UNIT, _TMPFILES, rules)]
    if not to_stdout:
        _refuse_existing([path, *beside])
    site = load_config().site
    root = (spool or site.spool or _SPOOL).absolute()
    group = operators or site.operators or _OPERATORS
    if not str(root).isprintable():
        raise InputError.at("--spool", "needs a path on one line")
    gid_of(group, "--operators")
    client = slurm_client()
    text = site_file(
        SiteFacts(
            cluster=client.ask(ClusterRequest()).name,
            spool=root,
            spool_given=bool(spool or site.spool),
            operators=group,
            operators_given=bool(operators or site.operators),
            nodes=client.ask(HardwareRequest()),
            agents=_agent_headers(root),
        )
    )
    if to_stdout:
        echo(text.rstrip("\n"))
        return
    folders = [(root, "0755", "root"), (root / AGENTS_DIR, "0750", group), (root / USERS_DIR, "3773", group)]
    folders += [(root / LEDGER_DIR, "2750", group), (root / PUBLISHED_DIR, "0711", "root")]
    tmpfiles = "".join(f"d {_of_tmpfiles(folder)} {mode} root {owner} -\n" for folder, mode, owner in folders)
    contents = [text, agent_unit(agent_options(root, group), root), tmpfiles, f"{RULE}\n"]
    for one, content in zip([path, *beside], contents, strict=True):
        _write(one, content)
    _show_checklist(path, *beside, rule_file=RULE_FILE)


def _refuse_existing(paths: list[Path]) -> None:
    problems = [
        Problem(plain(str(path), 500), "already exists", "name another file with -o, or move this one away")
        for path in paths
        if os.path.lexists(path)
    ]
    if problems:
        raise InputError(problems)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SetupError(f"{plain(str(path), 500)} cannot be written: {error.strerror}") from None


def _agent_headers(spool: Path) -> dict[str, AgentHeader]:
    """The newest header of each node of which the spool has files of an agent that this user, or root, runs."""
    from hpcfrugal.spool.agent_files import read_agent_header
    from hpcfrugal.spool.agent_layout import agent_files

    files: list[tuple[str, Path]] = []
    with contextlib.suppress(OSError):
        files = [(node, path) for node, _, path in agent_files(spool)]
    headers: dict[str, AgentHeader] = {}
    for node, path in reversed(files):
        for uid in () if node in headers else sorted({0, os.getuid()}):
            if (header := read_agent_header(path, uid, node)) is not None:
                headers[node] = header
    return headers


def _of_tmpfiles(path: Path) -> str:
    """A path as tmpfiles.d(5) has it: specifiers begin with %, and words may be quoted."""
    text = str(path).replace("%", "%%")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if any(c in text for c in " \t\"'\\") else text


def _show_checklist(config: Path, unit: Path, tmpfiles: Path, rules: Path, *, rule_file: str) -> None:
    import hpcfrugal

    steps = [
        f"Edit {config}: check each guess, set zone and pue.",
        f"Make the directories, once: systemd-tmpfiles --create {tmpfiles}",
        f"Have {config.parent} on login and compute nodes, and hpcfrugal {hpcfrugal.__version__} under the same path.",
        f"On each compute node: install -m 644 {unit} /etc/systemd/system/ && systemctl enable --now {unit.stem}",
        f"Only if users are to read RAPL themselves (the agent makes it needless): install -m 644 {rules} {rule_file}",
        "As root, on one machine with Slurm, every 15 minutes: hpcfrugal site sync && hpcfrugal site publish",
        "As a user, on a compute node: srun hpcfrugal doctor",
    ]
    echo(f"Wrote {config}, {unit}, {tmpfiles} and {rules}.\n")
    for number, step in enumerate(steps, 1):
        echo(f"{number}. {plain(step, 500)}")
    echo("\nMore in docs/site.md, under Install for all users.")
