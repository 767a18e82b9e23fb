"""The console for tables, the same for all commands. It loads rich: import it late."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console

from hpcfrugal.cli.streams import colourless

PIPE_WIDTH = 220
"""Columns where the output is no terminal."""


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """rich itself would end the program with 1."""
        raise BrokenPipeError


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that takes texts as they are; in a pipe ``PIPE_WIDTH`` columns wide unless ``width`` is given."""

    def make(columns: int | None) -> Console:
        return _Console(
            stderr=stderr, width=columns, highlight=False, markup=False, emoji=False,
            color_system=None if colourless() else "auto",
        )  # fmt: skip

    made = make(width)
    return made if width is not None or made.is_terminal else make(PIPE_WIDTH)
