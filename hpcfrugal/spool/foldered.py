"""Files of the spool beside its runs, in folders of one level: which of them are ours, and why the others are not."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from hpcfrugal.core.quick import dataclass

OnSkip = Callable[[Path, str], None]
"""Called for links and entries that are not read, with the reason."""


@dataclass(frozen=True, slots=True)
class FolderedFiles:
    """Files ``<root>/<folder>/<name>`` whose names are these. ``a_folder`` and ``a_file`` are what they are, in words,
    for the reason why another entry is skipped. Names with a dot before them are files that are being written."""

    folder: re.Pattern[str]
    name: re.Pattern[str]
    a_folder: str
    a_file: str

    def below(self, root: Path, on_skip: OnSkip | None = None) -> list[Path]:
        """All of them, in order."""
        skip = on_skip or (lambda path, reason: None)
        found: list[Path] = []
        if root.is_symlink():
            skip(root, "a symbolic link, not followed")
            return found
        for folder in _listed(root, skip):
            if not self.folder.fullmatch(folder.name) or not folder.is_dir(follow_symlinks=False):
                skip(Path(folder.path), f"not {self.a_folder}")
                continue
            for file in _listed(Path(folder.path), skip):
                if file.name.startswith("."):
                    continue
                if not self.name.fullmatch(file.name) or not file.is_file(follow_symlinks=False):
                    skip(Path(file.path), f"not {self.a_file}")
                    continue
                found.append(Path(file.path))
        return found


def _listed(folder: Path, skip: OnSkip) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        skip(folder, f"cannot be listed: {error.strerror}")
        return []
