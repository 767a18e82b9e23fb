"""``hpcfrugal init``."""

from __future__ import annotations

from pathlib import Path

import click

from hpcfrugal.cli.streams import echo
from hpcfrugal.core.errors import InputError, SetupError

JOB_TEMPLATE = """\
# A job file of hpcfrugal. All keys: hpcfrugal schema, or docs/job-file.md
name: my-job
# This example uses one CPU for five seconds. Replace it with your own command, such as
#   python3 train.py --epochs 10
command: |
  until=$((SECONDS + 5))
  while [ "$SECONDS" -lt "$until" ]; do :; done
  echo "done on $(hostname)"

resources:
  time: 10:00            # days-hours:minutes:seconds
  # cpus_per_task: 4
  # mem: 8G
  # gpus: 1
  # partition: batch
  # account: my-project

tags:
  project: my-project
  phase: training        # training | inference | ...
"""


@click.command(name="init")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default=Path("job.yaml"))
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init_command(path: Path, force: bool) -> None:
    """Write an example job file (job.yaml unless you name another file)."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(JOB_TEMPLATE)
    except FileExistsError:
        raise InputError.at(str(path), "already exists", "name another file, or use --force") from None
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from None
    echo(f"Wrote {path}, a working example. Put your command into it and run: hpcfrugal submit {path}")
