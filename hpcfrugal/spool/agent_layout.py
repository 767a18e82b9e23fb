"""Names of the files of node agents: ``<spool>/agents/<node>/<YYYY-MM-DD>.jsonl``, and the program that writes them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from hpcfrugal.spool.foldered import OnSkip
from hpcfrugal.spool.layout import AGENTS_DIR, decode_node, encode_node

_AGENT_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.jsonl")


def agent_folder(spool_root: Path, node: str) -> Path:
    """Where the agent of ``node`` puts its files."""
    return spool_root / AGENTS_DIR / encode_node(node)


def agent_program(spool_root: Path, node: str) -> Path:
    """The zipapp that the agent of ``node`` runs."""
    return agent_folder(spool_root, node) / "sidecar.pyz"


def agent_file(spool_root: Path, node: str, day: date) -> Path:
    """The file of a day (UTC)."""
    return agent_folder(spool_root, node) / f"{day:%Y-%m-%d}.jsonl"


def agent_files(spool_root: Path, on_skip: OnSkip | None = None) -> Iterator[tuple[str, date, Path]]:
    """Node, day and path of each file of an agent, in order. Links and other names are left out.

    ``on_skip`` is called for a folder that cannot be listed; without it, that raises ``OSError``.
    """
    root = spool_root / AGENTS_DIR
    for folder in _listed(root, on_skip) if root.is_dir() else ():
        node = decode_node(folder.name)
        if folder.is_symlink() or not folder.is_dir() or encode_node(node) != folder.name:
            continue
        for path in _listed(folder, on_skip):
            if _AGENT_DAY.fullmatch(path.name) is not None:
                with contextlib.suppress(ValueError):
                    yield node, date.fromisoformat(path.name.removesuffix(".jsonl")), path


def _listed(folder: Path, on_skip: OnSkip | None) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        if on_skip is None:
            raise
        on_skip(folder, f"cannot be listed: {error.strerror}")
        return []
