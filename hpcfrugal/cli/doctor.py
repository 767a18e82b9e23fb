"""``hpcfrugal doctor``."""

from __future__ import annotations

import json
import platform
import sys

import click

from hpcfrugal import __version__
from hpcfrugal.settings.config import load_config

_MARKS = {"ok": ("✓", "green"), "gap": ("–", "yellow"), "fault": ("✗", "red")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Say what works on this machine, and the one thing to do about each gap.

    Sensors are those of the machine it runs on: for a compute node, srun hpcfrugal doctor.
    Ends with 0, or with 3 where something is broken.
    """
    from hpcfrugal.doctor import Finding, meter_findings, sensor_findings, slurm_findings, storage_findings

    config = load_config()
    program = f"hpcfrugal {__version__}, Python {platform.python_version()}, {sys.executable}"
    findings = [
        Finding("program", "version", "ok", program),
        *slurm_findings(),
        *sensor_findings(),
        *meter_findings(config.tables["meters"]),
        *storage_findings(config),
    ]
    broken = any(finding.level == "fault" for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": not broken, "findings": [finding.as_json() for finding in findings]}, indent=2))
    else:
        area = ""
        for finding in findings:
            if finding.area != area:
                area = finding.area
                click.secho(area, bold=True)
            mark, colour = _MARKS[finding.level]
            click.echo(f"  {click.style(mark, fg=colour)} {finding.subject}: {finding.found}")
            if finding.advice:
                click.echo(f"    {click.style('→', fg='cyan')} {finding.advice}")
    sys.exit(3 if broken else 0)
