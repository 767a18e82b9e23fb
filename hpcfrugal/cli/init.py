"""``hpcfrugal init``."""

from __future__ import annotations

from pathlib import Path

import click

from hpcfrugal.errors import InputError, SetupError

TEXT = """\
# A job of hpcfrugal. Every key: hpcfrugal schema, or docs/job-file.md
name: my-job
command: |
  python3 train.py --epochs 10

resources:
  time: 1:00:00        # days-hours:minutes:seconds
  cpus_per_task: 4
  mem: 8G
  # gpus: 1
  # partition: batch
  # account: my-project

tags:
  project: my-project
  phase: training      # training | inference | ...
"""


@click.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default=Path("job.yaml"))
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def init(path: Path, force: bool) -> None:
    """Write a job file to start from (job.yaml unless you name another)."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(TEXT)
    except FileExistsError:
        raise InputError.at(str(path), "exists already", "name another file, or use --force") from None
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"Wrote {path}. Submit it: hpcfrugal submit {path}")
