"""Command groups that suggest a similar command for an unknown one."""

from __future__ import annotations

import click

from hpcfrugal.core.errors import InputError, did_you_mean


class SuggestingGroup(click.Group):
    """For an unknown command, suggests the most similar one or lists all."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = click.utils.make_str(args[0])
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise InputError.at("", f"no such command {name!r}", did_you_mean(name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)
