"""Command groups that suggest a similar command for an unknown one."""

from __future__ import annotations

import click

from hpcfrugal.core.errors import InputError, did_you_mean

_SENTENCE = 1000
"""Characters of a sentence in the list of commands, which is broken into lines."""


class SuggestingGroup(click.Group):
    """For an unknown command, suggests the most similar one or lists all; its help has whole sentences."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = click.utils.make_str(args[0])
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise InputError.at("", f"no such command {name!r}", did_you_mean(name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The first sentence of each command's help, whole: click would cut it off at the end of a line."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(_SENTENCE)) for name, command in commands if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
