"""A run directory as it is on disk: its owner, and which of its files are for the ledger."""

from __future__ import annotations

import os

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import FileState, refusal
from hpcfrugal.core.text import clean_text
from hpcfrugal.spool.layout import ParsedName, RunDir

_READ = frozenset({"run", "labels", "submitted", "samples", "meter", "log", "end", "slurm", "nodes"})


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of the directory. ``clean_name`` and ``node`` are as the ledger has them, ``refused`` is why it must not
    be read."""

    name: str
    clean_name: str
    parsed: ParsedName
    node: str | None
    state: FileState
    refused: str | None


@dataclass(frozen=True, slots=True)
class RunListing:
    """The directory of a run. ``mtime_ns`` is its modification time before it was listed."""

    run_dir: RunDir
    owner_uid: int
    mtime_ns: int
    files: tuple[ListedFile, ...]

    def path_of(self, file: ListedFile) -> str:
        """Where one of the files is."""
        return f"{self.run_dir.folder}/{file.name}"


def list_run(run: RunDir) -> RunListing:
    """List a run directory. Raises ``OSError``."""
    folder = os.lstat(run.folder)
    files = []
    for name, parsed in run.names():
        if parsed is None or parsed.kind not in _READ:
            if parsed is not None or not name.endswith((".json", ".jsonl", ".meter")):
                continue
            parsed = ParsedName("log")
        try:
            status = os.lstat(f"{run.folder}/{name}")
        except FileNotFoundError:
            continue
        reason = refusal(status, folder.st_uid)
        if reason is None and parsed.kind == "log" and parsed.job is None:
            reason = "its name is not one of the spool"
        node = None if parsed.node is None else clean_text(parsed.node)
        if node != parsed.node:
            # Two of them would be one in the ledger.
            reason = "the name of its node is not UTF-8"
        files.append(ListedFile(name, clean_text(name), parsed, node, FileState.of(status), reason))
    return RunListing(run, folder.st_uid, folder.st_mtime_ns, tuple(files))
