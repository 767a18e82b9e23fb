"""Standard output and standard error: whether they take colour, and what becomes of them when nobody reads any more."""

from __future__ import annotations

import codecs
import os
import sys

import click

from hpcfrugal.core.text import in_its_place

codecs.register_error(FALLBACK := "hpcfrugal", in_its_place)


class ReaderGone(Exception):
    """Who read our output went away, as in ``| head``.

    Not an OSError: click would end the program by itself for one, with 1.
    """


def plain() -> bool:
    """Whether the user wants no colour (no-color.org), or has a terminal that takes no escape sequences (``dumb``).

    Bold and dim are left out along with it, in every command.
    """
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() == "dumb"


def say(text: str, *, err: bool = False) -> None:
    """Print a line, or not where nobody reads any more: what goes on must not end for that."""
    try:
        click.echo(text, err=err)
    except BrokenPipeError:
        settle()


def settle() -> None:
    """Write out what is left. What nobody takes is dropped, so that the interpreter does not try, and fail, once more.

    An error that matters has been raised by the write itself: everything is flushed when it is printed.
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
