"""``hpcfrugal doctor``."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from hpcfrugal.cli.options import json_option
from hpcfrugal.cli.streams import echo, echo_json, echo_wrapped
from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcfrugal.doctor import Finding

_MARKS = {"ok": ("✓", "green"), "gap": ("–", "yellow"), "fault": ("✗", "red")}


@click.command(name="doctor")
@json_option("Print one JSON object.")
def doctor_command(as_json: bool) -> None:
    """Check this machine and the settings, and print what to do about each problem.

    Sensors are those of the machine it runs on: for a compute node, srun hpcfrugal doctor.
    Exits with 0, or with 3 if something is broken.
    """
    from hpcfrugal.doctor import Finding, sensor_findings

    program = f"hpcfrugal {__version__}, Python {platform.python_version()}, {sys.executable}"
    findings = [
        Finding("program", "version", "ok", program),
        *_configured_findings(sensor_findings()),
    ]
    broken = any(finding.level == "fault" for finding in findings)
    if as_json:
        echo_json({"ok": not broken, "findings": [asdict(finding) for finding in findings]})
    else:
        area = ""
        for finding in findings:
            if finding.area != area:
                area = finding.area
                echo(click.style(area, bold=True))
            mark, colour = _MARKS[finding.level]
            echo_wrapped(f"{finding.subject}: {finding.found}", f"  {click.style(mark, fg=colour)} ")
            if finding.advice:
                echo_wrapped(finding.advice, f"    {click.style('→', fg='cyan')} ")
    sys.exit(3 if broken else 0)


def _configured_findings(sensors: Sequence[Finding]) -> list[Finding]:
    """Findings that depend on the settings, and between them those on the sensors.

    Mistakes in the settings are findings; the checks go on with the valid values.
    """
    from hpcfrugal.doctor import Finding, meter_findings, settings_findings, slurm_findings, storage_findings
    from hpcfrugal.settings.config import read_config

    try:
        config, problems = read_config()
    except SetupError as error:  # no home directory
        return [*slurm_findings(), *sensors, Finding("settings", "home", "fault", error.message, error.hint)]
    return [
        *slurm_findings(config.backend),
        *sensors,
        *settings_findings(config, problems),
        *meter_findings(config.tables("meters")),
        *storage_findings(config),
    ]
