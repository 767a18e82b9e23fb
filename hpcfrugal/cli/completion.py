"""``hpcfrugal completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from hpcfrugal.cli.streams import echo


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script for your shell.

    \b
    bash: eval "$(hpcfrugal completion bash)"   in ~/.bashrc
    zsh:  eval "$(hpcfrugal completion zsh)"    in ~/.zshrc
    fish: hpcfrugal completion fish > ~/.config/fish/completions/hpcfrugal.fish
    """
    from hpcfrugal.cli.root import root

    complete = get_completion_class(shell)
    assert complete is not None
    # Not .source(): for bash that one runs bash to ask its version, and a login node may have none.
    instance = complete(root, {}, "hpcfrugal", "_HPCFRUGAL_COMPLETE")
    echo(instance.source_template % instance.source_vars())
