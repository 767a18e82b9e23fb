"""The console for tables, the same for all commands. It loads rich: import it late."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console

from hpcfrugal.cli.streams import colourless

PIPE_WIDTH = 220
"""Columns if the output is not a terminal."""


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Without this, rich would exit with code 1."""
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """A console that prints texts unchanged, ``PIPE_WIDTH`` columns wide in a pipe."""

    def make(columns: int | None) -> Console:
        return _Console(
            stderr=stderr, width=columns, highlight=False, markup=False, emoji=False,
            color_system=None if colourless() else "auto",
        )  # fmt: skip

    made = make(None)
    return made if made.is_terminal else make(PIPE_WIDTH)
