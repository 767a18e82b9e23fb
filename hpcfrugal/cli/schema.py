"""``hpcfrugal schema``: the JSON Schema of job files."""

from __future__ import annotations

import json

import click

from hpcfrugal.cli.streams import echo


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of job files, for editors and checkers."""
    from hpcfrugal.job.schema import job_schema

    echo(json.dumps(job_schema(), indent=2, ensure_ascii=False))
