"""Names and places of a run directory: ``<spool>/<YYYY-MM>/<run_id>/`` and every file in it.

No other module spells a file name of the spool. A sample file is called ``<job_id>.<restart>.<node>.jsonl``:
the job id and the restart come first and hold no dot, so whatever follows the second dot is the node. A meter's
file ends in ``.<meter>.meter`` instead, and no meter's name holds a dot. Bytes of a node name outside
``A-Z a-z 0-9 . _ -`` are written as ``%XX``, so no name leaves its directory; a name that writes a node in any other
way is none, so no node has two files.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from hpcfrugal.core.files import make_private_folder
from hpcfrugal.core.quick import dataclass

SPOOL_SCHEMA = 1
"""Version of every document and of the sidecar's header, in their key ``schema``."""

METER_DOMAIN = "meter:"
"""With the meter's name behind it: the domain of the channel in a meter's file, the source where it had nothing."""

INTENSITY_DIR = "intensity"
"""Beside the months of runs: what the grid's carbon intensity was. No month's name."""

ACCOUNTING_DIR = "accounting"
"""Beside them too: what sacct printed, for jobs that have no run directory."""

SIDECAR_DIR = "sidecar"
"""Beside them too: the zipapps that the runs' ``sidecar.pyz`` are links to."""

AGENTS_DIR = "agents"
"""Beside them in a site's spool: a folder for each node, with the files of its agent by day."""

USERS_DIR = "users"
"""In a site's spool too: the spools of users, where the site puts these there."""

CLUSTERS_DIR = "clusters"
"""Beside the months of runs too: what is known of each cluster beside its jobs."""

METERS_DIR = "meters"
"""Beside them too: what power meters read of whole nodes by day."""

LEDGER_DIR, PUBLISHED_DIR = "ledger", "published"
"""In a site's spool too, by `site init`: the site's ledger, and those that users get."""

_OTHER_DIRS = (
    *(INTENSITY_DIR, ACCOUNTING_DIR, SIDECAR_DIR, AGENTS_DIR, USERS_DIR, CLUSTERS_DIR),
    *(METERS_DIR, LEDGER_DIR, PUBLISHED_DIR),
)

NameKind = Literal["run", "labels", "submitted", "samples", "end", "slurm", "nodes", "meter", "script", "log", "pid"]

_RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])")
_JOB_ID = re.compile(r"[A-Za-z0-9_+-]{1,64}")
_RESTART = re.compile(r"0|[1-9][0-9]{0,8}")
_PER_JOB = re.compile(rf"({_JOB_ID.pattern})\.({_RESTART.pattern})\.(.+)", re.DOTALL)
_METERED = re.compile(r"(?P<node>.+)\.(?P<meter>[A-Za-z0-9_-]{1,40})\.meter", re.DOTALL)
_MAX_RESTART = 999_999_999
_MAX_NAME_BYTES = 255
_NODES_REMEMBERED = 10_000

_FIXED: dict[str, NameKind] = {
    "run.json": "run",
    "labels.json": "labels",
    "submitted.json": "submitted",
    "script.sbatch": "script",
    "sidecar.pyz": "script",
    "script.user": "script",
    "local.json": "script",
    "local.pid": "script",
    "submitit": "script",
    "slurm.gone": "script",
}


_OF_JOB: dict[str, NameKind] = {
    "end.json": "end",
    "slurm.json": "slurm",
    "nodes.json": "nodes",
    "sidecar.log": "log",
    "pid": "pid",
}


class JobKey(NamedTuple):
    """One attempt of one job: Slurm's raw job id and how often Slurm had restarted it."""

    job_id: str
    restart: int

    @property
    def sort_key(self) -> tuple[int, str, int]:
        """Numeric job ids in the order of their numbers, others after them by text."""
        number = int(self.job_id) if self.job_id.isdecimal() else 2**63
        return (number, self.job_id, self.restart)


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What is known of a file in a run directory by its name."""

    kind: NameKind
    job: JobKey | None = None
    node: str | None = None
    meter: str | None = None


def new_run_id(now: datetime, entropy: str) -> str:
    """``YYYYMMDDTHHMMSSZ-xxxxxxxx`` for the aware time ``now``.

    Eight hex digits are drawn from ``entropy`` (any text; the same text gives the same id, so a caller who
    wants a new id hands in fresh randomness, such as ``secrets.token_hex()``).
    """
    if now.tzinfo is None:
        raise ValueError("new_run_id needs an aware datetime")
    digest = hashlib.sha256(entropy.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest}"


def is_run_id(text: str) -> bool:
    """Whether ``text`` has the form of a run id."""
    return _RUN_ID.fullmatch(text) is not None


def encode_node(node: str) -> str:
    """The node's name as it stands in a file name.

    >>> encode_node("n1.cluster"), encode_node("a/b")
    ('n1.cluster', 'a%2Fb')
    """
    return quote(node, safe="", errors="surrogateescape").replace("~", "%7E")


def decode_node(encoded: str) -> str:
    """The inverse of :func:`encode_node`."""
    return unquote_to_bytes(encoded).decode("utf-8", "surrogateescape")


def parse_name(name: str) -> ParsedName | None:
    """What kind of file ``name`` is and for which job and node; None for a name that is not of the spool."""
    fixed = _FIXED.get(name)
    if fixed is not None:
        return ParsedName(fixed)
    match = _PER_JOB.fullmatch(name)
    if match is None:
        return None
    job_id, restart, rest = match.groups()
    job = JobKey(job_id, int(restart))
    if (kind := _OF_JOB.get(rest)) is not None:
        return ParsedName(kind, job)
    metered = _METERED.fullmatch(rest) if rest.endswith(".meter") else None
    encoded = metered["node"] if metered is not None else rest.removesuffix(".jsonl")
    if not encoded.isascii() or encoded in ("", rest):
        return None
    node = _node_named(encoded)
    if node is None:
        return None
    return ParsedName("samples", job, node) if metered is None else ParsedName("meter", job, node, metered["meter"])


@lru_cache(_NODES_REMEMBERED)
def _node_named(encoded: str) -> str | None:
    """The node that a file name names; None where it is written in another way than ``encode_node`` does."""
    node = decode_node(encoded)
    return node if encode_node(node) == encoded else None


def _per_job(job_id: str, restart: int) -> str:
    if _JOB_ID.fullmatch(job_id) is None:
        raise ValueError(f"not a job id: {job_id!r}")
    if not 0 <= restart <= _MAX_RESTART:
        raise ValueError(f"not a restart count: {restart}")
    return f"{job_id}.{restart}"


@dataclass(frozen=True)
class RunDir:
    """One run's directory; its properties and methods are the only place that knows file names.

    ``folder`` is its path as text: a sync has so many that it makes no ``Path`` for each.
    """

    folder: str

    @classmethod
    def create(cls, spool_root: Path, run_id: str) -> RunDir:
        """Make ``<spool_root>/<YYYY-MM>/<run_id>``, private, and its parents where they are missing.

        Raises ``FileExistsError`` where the run directory is there already, other ``OSError`` as they come.
        """
        run_dir = cls.of(spool_root, run_id)
        run_dir.make_month()
        run_dir.make()
        return run_dir

    @classmethod
    def of(cls, spool_root: Path, run_id: str) -> RunDir:
        """Where the run ``run_id`` lies, whether it exists or not; the month is part of the id."""
        if not is_run_id(run_id):
            raise ValueError(f"not a run id: {run_id!r}")
        return cls(str(spool_root / f"{run_id[:4]}-{run_id[4:6]}" / run_id))

    def make_month(self) -> None:
        """Make the folder of its month and the spool where they are missing. Raises as ``own_folder``."""
        own_folder(self.spool, self.path.parent.name)

    def make(self) -> None:
        """Make it in the folder of its month. Raises as ``create``."""
        make_private_folder(self.path, exist_ok=False)

    @cached_property
    def path(self) -> Path:
        return Path(self.folder)

    @property
    def run_id(self) -> str:
        return self.folder.rpartition("/")[2]

    @property
    def spool(self) -> Path:
        return self.path.parent.parent

    @property
    def run_json(self) -> Path:
        return self.path / "run.json"

    @property
    def labels_lock(self) -> Path:
        """Held by who changes ``labels_json``."""
        return self.path / ".labels.lock"

    @property
    def labels_json(self) -> Path:
        return self.path / "labels.json"

    @property
    def submitted_json(self) -> Path:
        return self.path / "submitted.json"

    @property
    def script(self) -> Path:
        return self.path / "script.sbatch"

    @property
    def sidecar(self) -> Path:
        return self.path / "sidecar.pyz"

    @property
    def user_script(self) -> Path:
        return self.path / "script.user"

    @property
    def local_json(self) -> Path:
        """When a job of the local backend starts, and its tasks."""
        return self.path / "local.json"

    @property
    def local_pid(self) -> Path:
        """The process that starts a job of the local backend."""
        return self.path / "local.pid"

    @property
    def local_lock(self) -> Path:
        """Held while tasks of a job of the local backend are started or cancelled."""
        return self.path / ".local.lock"

    def next_start(self, job_id: str) -> Path:
        """Where the batch script of a local job in segments says when its next one begins, in seconds since 1970."""
        return self.path / f".{job_id}.next"

    def pid(self, job_id: str, restart: int) -> Path:
        """The process of a job or task of this machine, while it runs."""
        return self.path / f"{_per_job(job_id, restart)}.pid"

    @property
    def slurm_gone(self) -> Path:
        """Marks a run whose jobs Slurm no longer knows, so that they are not queried again."""
        return self.path / "slurm.gone"

    @property
    def submitit(self) -> Path:
        """Where submitit keeps what it needs for a job of the local backend."""
        return self.path / "submitit"

    def samples(self, job_id: str, restart: int, node: str) -> Path:
        """The sidecar's file of one node. Raises ``ValueError`` for what cannot be a file name."""
        return self._of_node(job_id, restart, node, "jsonl")

    def meter(self, job_id: str, restart: int, node: str, meter: str) -> Path:
        """Readings of one node by the meter of this name. Raises ``ValueError`` for what cannot be a file name."""
        return self._of_node(job_id, restart, node, f"{meter}.meter")

    def _of_node(self, job_id: str, restart: int, node: str, ending: str) -> Path:
        encoded = encode_node(node)
        name = f"{_per_job(job_id, restart)}.{encoded}.{ending}"
        if not encoded or len(name.encode()) > _MAX_NAME_BYTES or "/" in ending:
            raise ValueError(f"not a node name: {node[:80]!r}")
        return self.path / name

    def end_json(self, job_id: str, restart: int) -> Path:
        return self.path / f"{_per_job(job_id, restart)}.end.json"

    def slurm_json(self, job_id: str, restart: int) -> Path:
        return self.path / f"{_per_job(job_id, restart)}.slurm.json"

    def nodes_json(self, job_id: str, restart: int) -> Path:
        """What was known of the job's nodes when it was over."""
        return self.path / f"{_per_job(job_id, restart)}.nodes.json"

    def names(self) -> list[tuple[str, ParsedName | None]]:
        """Every name in the directory, sorted and parsed. Names that begin with a dot (temporary
        files of ``write_json_atomic``) are left out. Raises ``OSError`` where it cannot be listed."""
        return [(name, parse_name(name)) for name in sorted(os.listdir(self.folder)) if name[0] != "."]

    def files(self, kind: NameKind) -> list[tuple[Path, ParsedName]]:
        """The files of one kind with what their names say, in order. Raises ``OSError``."""
        return [
            (self.path / name, parsed) for name, parsed in self.names() if parsed is not None and parsed.kind == kind
        ]

    def jobs(self) -> list[JobKey]:
        """The (job, restart) of which any file is there, in order. Raises ``OSError``."""
        found = {parsed.job for _, parsed in self.names() if parsed is not None and parsed.job is not None}
        return sorted(found, key=lambda job: job.sort_key)


def mark_changed(run_dir: Path) -> None:
    """Note that a file was written into a run directory after the submission: the folder of its month gets a new
    modification time. A sync looks again at runs that are over only in folders that have one."""
    with contextlib.suppress(OSError):
        os.utime(run_dir.parent)


def own_folder(spool_root: Path, *names: str) -> Path:
    """The folder with these names, one below the other, in this user's spool; what is missing is made, private.

    Raises ``PermissionError`` where one of them, or the spool, is somebody else's or a link that somebody else made:
    that user could put another script or program in the place of ours. The spool itself may be root's. Other
    ``OSError`` as they come.
    """
    missing = takewhile(lambda folder: not folder.exists(), (spool_root, *spool_root.parents))
    for folder in reversed([*missing]):
        make_private_folder(folder)
    _refuse_foreign(spool_root, spool_root.lstat(), also=0)
    _refuse_foreign(spool_root, spool_root.stat(), also=0)
    path = spool_root
    for name in names:
        path /= name
        make_private_folder(path)
        if stat.S_ISLNK((found := path.lstat()).st_mode):
            raise PermissionError(errno.EPERM, "is a symbolic link", str(path))
        _refuse_foreign(path, found)
    return path


def _refuse_foreign(path: Path, found: os.stat_result, also: int | None = None) -> None:
    if found.st_uid not in (os.getuid(), also):
        raise PermissionError(errno.EPERM, "belongs to another user", str(path))


def iter_runs(spool_root: Path, on_skip: Callable[[Path, str], None] | None = None) -> Iterator[RunDir]:
    """Run directories below ``spool_root`` in the order of their names, hence of their creation.

    Links are not followed. ``on_skip`` hears of each entry that is no run directory or cannot be listed, with
    the reason; the folders beside the months are none of them. A spool that does not exist yet holds no runs.
    """

    for month in iter_months(spool_root, on_skip):
        yield from runs_of_month(month, on_skip)


def iter_months(spool_root: Path, on_skip: Callable[[Path, str], None] | None = None) -> Iterator[Path]:
    """The folders of months, in order. ``on_skip`` as for ``iter_runs``."""

    def skip(path: Path, reason: str) -> None:
        if on_skip is not None and path not in [spool_root / name for name in _OTHER_DIRS]:
            on_skip(path, reason)

    yield from map(Path, _folders(spool_root, _MONTH, "not a month folder of the spool", skip))


def runs_of_month(month: Path, on_skip: Callable[[Path, str], None] | None = None) -> Iterator[RunDir]:
    """The run directories in the folder of a month, in order. ``on_skip`` as for ``iter_runs``."""

    def skip(path: Path, reason: str) -> None:
        if on_skip is not None:
            on_skip(path, reason)

    prefix = month.name.replace("-", "")
    for folder in _folders(month, _RUN_ID, "not a run directory", skip):
        run = RunDir(folder)
        if run.run_id.startswith(prefix):
            yield run
        else:
            skip(run.path, f"not in the folder of its month, {run.run_id[:4]}-{run.run_id[4:6]}")


def _folders(
    parent: Path, pattern: re.Pattern[str], otherwise: str, skip: Callable[[Path, str], None]
) -> Iterator[str]:
    try:
        with os.scandir(parent) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as error:
        skip(parent, f"cannot be listed: {error.strerror}")
        return
    for entry in found:
        if entry.is_symlink():
            skip(Path(entry.path), "a symbolic link, not followed")
        elif pattern.fullmatch(entry.name) is None or not entry.is_dir(follow_symlinks=False):
            skip(Path(entry.path), otherwise)
        else:
            yield entry.path
