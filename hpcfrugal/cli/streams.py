"""Printing, the same for all commands: encoding, colour, and output that nobody reads to the end (``| head``)."""

from __future__ import annotations

import codecs
import json
import os
import shutil
import sys

import click

from hpcfrugal.core.text import plain, replace_unencodable

_LEAST_WIDTH = 20

codecs.register_error(FALLBACK := "hpcfrugal", replace_unencodable)


class ReaderGone(Exception):
    """Nobody reads our output any more, as after ``| head``.

    Not an OSError, for which click would exit with code 1.
    """


def colourless() -> bool:
    """Whether the user wants no colour (no-color.org) or the terminal takes no escape sequences (``dumb``).

    Bold and dim are then left out as well.
    """
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() == "dumb"


def echo(text: str | bytes, *, err: bool = False, nl: bool = True) -> None:
    """Print a line. Characters that the encoding of the stream lacks become ASCII or question marks.

    Raises BrokenPipeError if nobody reads the output any more.
    """
    # Without a file click would write UTF-8 to a stream whose encoding is ASCII.
    # click reads NO_COLOR only from 8.3 on, and only within a command.
    click.echo(text, file=sys.stderr if err else sys.stdout, nl=nl, color=False if colourless() else None)


def echo_wrapped(text: str, prefix: str = "", *, bold: bool = False, err: bool = False) -> None:
    """Print a text after a prefix; on a terminal in lines as wide as it is, which begin below the first."""
    lines = [text]
    indent = len(click.unstyle(prefix))
    if (sys.stderr if err else sys.stdout).isatty():
        import textwrap  # needed only on a terminal

        width = max(shutil.get_terminal_size().columns - indent, _LEAST_WIDTH)
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
    shown = [click.style(line, bold=True) if bold else line for line in lines]
    echo(prefix + f"\n{' ' * indent}".join(shown), err=err)


def echo_or_drop(text: str, *, err: bool = False) -> None:
    """Print a line, or drop it if nobody reads the output any more, so that the command continues."""
    try:
        echo(text, err=err)
    except BrokenPipeError:
        settle()


def echo_json(document: object, *, indent: int | None = 2) -> None:
    """Print a JSON document."""
    echo(json.dumps(document, indent=indent, allow_nan=False))


def warn(text: str, limit: int = 1000) -> None:
    """Print a warning on standard error; the command continues even if nobody reads it."""
    echo_or_drop(f"{click.style('warning:', fg='yellow')} {plain(text, limit)}", err=True)


def echo_note(text: str, limit: int = 1000) -> None:
    """Print a note on standard error; the command continues even if nobody reads it."""
    echo_or_drop(f"{click.style('note:', fg='yellow')} {plain(text, limit)}", err=True)


def settle() -> None:
    """Flush standard output and error. Drops what nobody reads, on which the interpreter would fail at exit.

    Failed writes that matter have raised before: all output is flushed when it is printed.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # closed by the shell: >&-
            continue
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
