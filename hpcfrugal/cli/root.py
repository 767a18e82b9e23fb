"""The root command: loads the others by name, and turns errors into messages and exit codes."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import click

from hpcfrugal.cli.group import SuggestingGroup
from hpcfrugal.cli.streams import FALLBACK, ReaderGone, colourless, echo, echo_note, settle
from hpcfrugal.core.errors import HpcfrugalError, SetupError
from hpcfrugal.core.text import printable
from hpcfrugal.core.version import __version__

# name -> (module with NAME_command, help). The help is here so that --help imports no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "submit": ("submit", "Submit job files and account for their energy."),
    "plan": ("plan", "Show when a job would run, and why."),
    "run": ("run", "Measure a command on this machine."),
    "status": ("status", "Show your jobs and their power."),
    "watch": ("status", "Follow your jobs live."),
    "cancel": ("cancel", "Cancel jobs."),
    "hold": ("hold", "Keep waiting jobs from starting."),
    "release": ("hold", "Let held and planned jobs start."),
    "tag": ("labels", "Name or tag a job that exists."),
    "forget": ("labels", "Leave jobs out of all reports."),
    "report": ("report", "Report energy per job and over a period."),
    "forecast": ("forecast", "Show the forecast of the grid's carbon intensity."),
    "queue": ("queue", "Low-carbon queues: waiting jobs, and the service that plans their starts."),
    "ledger": ("ledger", "Bring the ledger up to date, check it, rebuild it."),
    "site": ("site", "For operators: measure all jobs of a node, log the power of nodes."),
    "doctor": ("doctor", "Check this machine and the settings, and print what to do about problems."),
    "schema": ("schema", "Print the JSON Schema of the job file."),
    "init": ("init", "Write a job file to start from."),
    "completion": ("completion", "Print the completion script for your shell."),
}


@contextmanager
def _reader_may_go() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error


class LazyGroup(SuggestingGroup):
    """A group whose commands are imported when first used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command = getattr(import_module(f"hpcfrugal.cli.{module}"), f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _reader_may_go():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_may_go():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hpcfrugal")
def root() -> None:
    """Submit jobs to Slurm, measure their energy, and report it.

    \b
    hpcfrugal init            write a job.yaml to start from
    hpcfrugal submit job.yaml submit it
    hpcfrugal report          see what your jobs used
    """


def _show_notes(notes: Sequence[str]) -> None:
    """Whole: they name each of the jobs that were submitted, however many."""
    for note in notes:
        echo_note(note, sys.maxsize)


def _show(message: str, hint: str | None = None, notes: Sequence[str] = ()) -> None:
    _show_notes(notes)
    for line in message.splitlines() or [""]:
        echo(f"{click.style('error:', fg='red', bold=True)} {printable(line)}", err=True)
    if hint:
        echo(f"{click.style('hint:', fg='cyan')} {printable(hint)}", err=True)


def _show_interrupt(notes: Sequence[str]) -> None:
    _show_notes(notes)
    echo("interrupted", err=True)


def _show_usage(error: click.ClickException) -> None:
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        echo(context.get_usage(), err=True)
    _show(error.format_message(), None if context is None else f"{context.command_path} --help")


def _outcome(argv: list[str] | None) -> tuple[int, Callable[[], None] | None]:
    """Run the command. Returns its exit code, and a function that prints its error."""
    try:
        code = root.main(args=argv, prog_name="hpcfrugal", standalone_mode=False, color=False if colourless() else None)
    except HpcfrugalError as error:
        return error.exit_code, partial(_show, error.message, error.hint, getattr(error, "__notes__", ()))
    except click.exceptions.Exit as error:
        return error.exit_code, None
    except click.ClickException as error:
        return error.exit_code, partial(_show_usage, error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return SetupError.exit_code, partial(_show, f"{where}{error.strerror or error}")
    except (click.Abort, KeyboardInterrupt) as error:
        # click makes an Abort of it.
        notes = getattr(error.__cause__ or error, "__notes__", ())
        return 130, partial(_show_interrupt, notes)
    return (code if isinstance(code, int) else 0), None


def main(argv: list[str] | None = None) -> None:
    """Entry point of the ``hpcfrugal`` program; always ends by ``SystemExit``.

    Exit codes: 0 done; 1 the job or command failed; 2 usage or bad input; 3 environment; 4 data refused.
    """
    for stream in (sys.stdout, sys.stderr):
        # Characters that a terminal cannot show, and paths that are not UTF-8, become ASCII or question marks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=FALLBACK)
    # A short command mostly imports, which creates many objects and little garbage: collect seldom (the default is
    # every 700 objects), and not at exit.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    code = 0
    try:
        code, show_error = _outcome(argv)
        if show_error is not None:
            show_error()
    except (ReaderGone, BrokenPipeError):
        pass  # nobody reads the output any more (`| head`), which is no error; the exit code stays
    finally:
        settle()
    sys.exit(code)
